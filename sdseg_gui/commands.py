"""The table of commands as data: menus, toolbar, shortcuts and help derive from it (no Qt)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One thing that the window can do.

    Attributes:
        id: stable name, for scripts and `sdseg commands`.
        title: menu text with its mnemonic.
        menu: the menu it stands in.
        keys: shortcuts, the first one is shown; in Qt's notation.
        tip: one sentence for the tooltip and the status line.
        icon: name of a file in resources/icons, or "".
        checkable: True for switches and tools.
        group: commands of one group exclude each other.
        whole: needs every slice of the case, and waits for a series that is still being read.
    """

    id: str
    title: str
    menu: str
    keys: tuple[str, ...] = ()
    tip: str = ""
    icon: str = ""
    checkable: bool = False
    group: str = ""
    whole: bool = False

    @property
    def plain_title(self) -> str:
        """The title without its mnemonic."""
        return self.title.replace("&", "").rstrip(" .")


MENUS = ("&File", "&Edit", "&View", "&Tools", "&Segment", "&Help")

# One line a command reads best as a table.
# ruff: noqa: E501
COMMANDS: tuple[Command, ...] = (
    Command("case.open", "&Open picture or volume ...", "&File", ("Ctrl+O",),
            "Open a picture, a NIfTI file or a DICOM file", "open"),
    Command("case.open_folder", "Open &folder ...", "&File", ("Ctrl+Shift+O",),
            "Open a folder of pictures, or one with a DICOM series", "folder"),
    Command("case.open_sample", "Built-in pict&ure", "&File", (),
            "Open the built-in sample: a photograph of a retina"),
    Command("case.open_sample_volume", "Built-in &volume", "&File", (),
            "Open the built-in sample: an MR template of the brain, with a box"),
    Command("case.open_mask", "Open &mask for this case ...", "&File", ("Ctrl+M",),
            "Open a saved mask of this case to correct it", whole=True),
    Command("case.previous", "P&revious case", "&File", ("A",), "Go to the previous case of the list", "previous"),
    Command("case.next", "&Next case", "&File", ("D",), "Go to the next case of the list", "next"),
    Command("case.previous_time", "Previous t&ime point", "&File", ("Shift+A",),
            "Go to the time point before, of a series or file with several; each has its own mask"),
    Command("case.next_time", "Ne&xt time point", "&File", ("Shift+D",),
            "Go to the time point behind, of a series or file with several; each has its own mask"),
    Command("case.time_point", "&Go to time point ...", "&File", (), "Choose a time point by its number"),
    Command("case.remove", "Remove from the &list", "&File", (),
            "Take a case from the list; its file stays. Also Delete in the list"),
    Command("case.stop_opening", "S&top opening", "&File", (),
            "Stop looking at files or opening a case; the one that is shown stays. Also Esc"),
    Command("project.open", "Open &project ...", "&File", ("Ctrl+Shift+P",), "Open a saved project"),
    Command("project.save", "&Save project", "&File", ("Ctrl+S",),
            "Save all cases, labels and review states", "save"),
    Command("project.save_as", "Save project &as ...", "&File", ("Ctrl+Shift+S",),
            "Save the project under another name"),
    Command("export.mask", "&Export mask ...", "&File", ("Ctrl+E",),
            "Write the mask of this case as NIfTI, PNG, NRRD, MetaImage, DICOM SEG, RT structure set, labelme or table",
            "export", whole=True),
    Command("window.quit", "&Quit", "&File", ("Ctrl+Q",), "Close the program"),
    Command("edit.undo", "&Undo", "&Edit", ("Ctrl+Z",), "Take the last step back", "undo"),
    Command("edit.redo", "&Redo", "&Edit", ("Ctrl+Y", "Ctrl+Shift+Z"), "Make it again", "redo"),
    Command("label.add", "&Add label", "&Edit", ("L",), "Add a label and make it the active one"),
    Command("label.next", "Ne&xt label", "&Edit", ("=",), "Make the next label the active one"),
    Command("label.previous", "Pre&vious label", "&Edit", ("-",),
            "Make the label before the active one"),
    Command("box.clear", "Remove the &box", "&Edit", ("Shift+R",), "Work on the whole again"),
    Command("view.previous_slice", "&Previous slice", "&View", ("Up", "PgUp"), "Go to the slice before; also the wheel"),
    Command("view.next_slice", "&Next slice", "&View", ("Down", "PgDown"), "Go to the slice after; also the wheel"),
    Command("view.first_slice", "&First slice", "&View", ("Home",), "Go to the first slice of the volume"),
    Command("view.last_slice", "&Last slice", "&View", ("End",), "Go to the last slice of the volume"),
    Command("view.fit", "Fit &to window", "&View", ("Ctrl+0",), "Show the whole slice", "fit"),
    Command("view.zoom_in", "Zoom &in", "&View", ("Ctrl++", "Ctrl+="), "Show it larger; also Ctrl and the wheel"),
    Command("view.zoom_out", "Zoom o&ut", "&View", ("Ctrl+-",), "Show it smaller; also Ctrl and the wheel"),
    Command("view.toggle_overlay", "&Show labels", "&View", ("V",), "Show or hide all labels",
            "eye", checkable=True),
    Command("view.outline", "&Outline only", "&View", ("O",), "Show only the edges of labels",
            "outline", checkable=True),
    Command("view.window_preset.soft_tissue", "Window: soft tissu&e", "&View", ("1",),
            "Level 40, width 400 HU"),
    Command("view.window_preset.lung", "Window: lun&g", "&View", ("2",), "Level -600, width 1500 HU"),
    Command("view.window_preset.liver", "Window: li&ver", "&View", ("3",), "Level 90, width 150 HU"),
    Command("view.window_preset.bone", "Window: &bone", "&View", ("4",), "Level 480, width 2500 HU"),
    Command("view.window_preset.brain", "Window: b&rain", "&View", ("5",), "Level 40, width 80 HU"),
    Command("view.window_reset", "Window: from the &case", "&View", ("0",),
            "The window of the file, or of the picture's own values"),
    Command("tool.pan", "&Move", "&Tools", ("M",), "Drag to move the picture", "hand",
            checkable=True, group="tool"),
    Command("tool.brush", "&Brush", "&Tools", ("B",), "Paint the active label; Ctrl erases", "brush",
            checkable=True, group="tool"),
    Command("tool.eraser", "&Eraser", "&Tools", ("E",), "Erase labels", "eraser",
            checkable=True, group="tool"),
    Command("tool.box", "Bo&x", "&Tools", ("R",), "Drag a box: only its inside is segmented", "box",
            checkable=True, group="tool"),
    Command("tool.smaller_brush", "&Smaller brush", "&Tools", ("[",), "Also Shift and the wheel"),
    Command("tool.larger_brush", "&Larger brush", "&Tools", ("]",), "Also Shift and the wheel"),
    Command("segment.slice", "Segment &slice", "&Segment", ("S",),
            "Let the model propose a mask for this slice", "segment", whole=True),
    Command("segment.volume", "Segment &volume", "&Segment", ("Shift+S",),
            "Let the model propose a mask for every slice", "segment-volume", whole=True),
    Command("segment.cancel", "&Cancel", "&Segment", ("Esc",),
            "Drop the unfinished shape, else stop the segmentation", "stop"),
    Command("finetune.start", "&Fine-tune the model", "&Segment", ("Ctrl+T",),
            "Let a copy of the model learn from the corrected cases of the project", whole=True),
    Command("finetune.cancel", "C&ancel the fine-tuning", "&Segment", ("Ctrl+Shift+T",),
            "Stop it; the models stay as they are"),
    Command("help.keys", "&Keys and mouse", "&Help", ("?", "F1"), "All keys at a glance"),
    Command("help.log", "Copy &diagnostics", "&Help", (), "Copy the log, free of patient data"),
    Command("help.about", "&About SDSeg Studio", "&Help", (), "Version, licence, research use only"),
)  # fmt: skip

BY_ID = {command.id: command for command in COMMANDS}


def print_table() -> None:
    """The commands as `sdseg commands` prints them."""
    for command in COMMANDS:
        print(f"{command.id:34} {command.plain_title:28} {' or '.join(command.keys)}")
