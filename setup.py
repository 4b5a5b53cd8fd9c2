"""What setup.cfg cannot say: an installed package carries the top-level folders of YAML files with it."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("configs", "experiments", "sweeps")


class BuildWithSettings(build_py):
    """Copies them to aevlp/shipped, where `aevlp.folders` looks for them."""

    def run(self) -> None:
        """Build; an editable install reads them where they lie."""
        super().run()
        for folder in () if self.editable_mode else FOLDERS:
            self.copy_tree(folder, str(Path(self.build_lib, "aevlp", "shipped", folder)))


setup(cmdclass={"build_py": BuildWithSettings})
