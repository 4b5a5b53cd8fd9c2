"""From an annotation export to labels.csv: one converter a file.

    class MineImport(ImportConfig):                       # its settings: --set key=value, or the flag of that name
        recognises(source, files) -> bool                 # whether SOURCE looks like it; `files` are the names below a folder

    @register("imports", "mine", config=MineImport)
    def read_mine(config, *, source, report):             # source: a path that exists
        yield Found(file, Row(line, name, known, absent, labels, split))

A converter yields what the export says of each photo, with the name that the export gives it; several of one photo are taken
together, and a split that is not told is empty. It raises DataError, naming file and line, for what is damaged, and tells the
report what a user should know, with examples. Which photo below the root a name means, whether rows agree, and how the table is
written is the matter of `_collect` and `_run`. No converter imports torch.
"""
