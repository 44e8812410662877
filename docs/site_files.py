"""Hook of MkDocs: pages keep the places that they have in the repository, so that links work in both."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/*.md",
    "docs/*.svg",
    "docs/images/*",
    "config/README.md",
    "results/README.md",
    "results/reference/README.md",
    "methods/[!_]*/README.md",
    "THIRD_PARTY_LICENCES/README.md",
)
# What pages link to beside other pages.
FILES = ("LICENSE", "CITATION.cff", "THIRD_PARTY_LICENCES/*", "config/*.yaml", "Dockerfile")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the content of docs/ by the chosen files of the whole repository, under their own paths."""
    kept = [file for file in files if not _below(file, Path(config.docs_dir))]
    ours = sorted({path for pattern in (*PAGES, *FILES) for path in ROOT.glob(pattern)})
    found = [
        File(path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls)
        for path in ours
    ]
    return Files([*kept, *found])


def _below(file: File, folder: Path) -> bool:
    return file.abs_src_path is not None and Path(file.abs_src_path).is_relative_to(folder)
