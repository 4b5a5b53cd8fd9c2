"""The verbs of the command line: one file a verb, imported by `aevlp.cli` at every start, so none imports torch at its top.

HELP                       one line
add_arguments(parser)      its flags
run(arguments)             the exit code, or None for 0
"""
