"""What the window remembers between starts; no patient data, no file names."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

from engine.system.paths import user_data_dir


class Settings:
    """One typed door to the settings file."""

    def __init__(self, path: Path | None = None) -> None:
        file = path or user_data_dir() / "settings.ini"
        self._store = QSettings(str(file), QSettings.Format.IniFormat)

    @property
    def notice_seen(self) -> bool:
        """True once the first-start notice was closed."""
        return self._store.value("notice_seen", False, bool) is True

    @notice_seen.setter
    def notice_seen(self, seen: bool) -> None:
        self._store.setValue("notice_seen", seen)

    @property
    def layout(self) -> tuple[QByteArray, QByteArray]:
        """(geometry, state) of the main window; empty at first."""
        return self._bytes("geometry"), self._bytes("state")

    def _bytes(self, key: str) -> QByteArray:
        value = self._store.value(key)
        return value if isinstance(value, QByteArray) else QByteArray()

    def save_layout(self, geometry: QByteArray, state: QByteArray) -> None:
        """Remembers where the window and its panels are."""
        self._store.setValue("geometry", geometry)
        self._store.setValue("state", state)

    def sync(self) -> None:
        """Writes to the disk now."""
        self._store.sync()
