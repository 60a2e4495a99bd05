"""The picture with its overlay, as a reading room shows it."""

import pyqtgraph

# Arrays are [rows, columns] everywhere in this program; pyqtgraph's own default is the transpose.
pyqtgraph.setConfigOptions(imageAxisOrder="row-major", antialias=False)
