"""Files of the repository that the manual links to become part of the site.

A page links to them as they lie, `../recipes/results/x/table.png`, so that the
links work in a clone and where the repository is shown too. Here each such
file is added to the site below `repository/`, and the links are changed.
"""

import pathlib
import posixpath
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[1]
TARGET = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?(\))")


def outside(target, source):
    """Return the path in the repository of a link out of `docs/`, or None."""
    if "://" in target or target.startswith(("mailto:", "/")):
        return None
    path = posixpath.normpath(posixpath.join("docs", source, "..", target))
    if path.startswith(("docs/", "..")) or not (ROOT / path).is_file():
        return None
    return path


def on_files(files, config):
    """Add the files that pages link to."""
    for page in list(files.documentation_pages()):
        text = pathlib.Path(page.abs_src_path).read_text()
        for _, target, _, _ in TARGET.findall(text):
            path = outside(target, page.src_uri)
            # Pages of their own would have links of their own.
            name = path and f"repository/{path}".replace(".md", ".md.txt")
            if path and files.get_file_from_path(name) is None:
                files.append(
                    File.generated(config, name, abs_src_path=str(ROOT / path))
                )
    return files


def on_page_markdown(markdown, page, config, files):
    """Lead links to these files to where they are in the site."""
    here = posixpath.dirname(page.file.src_uri)

    def changed(match):
        path = outside(match[2], page.file.src_uri)
        if path is None:
            return match[0]
        name = f"repository/{path}".replace(".md", ".md.txt")
        return f"{match[1]}{posixpath.relpath(name, here or '.')}{match[4]}"

    return TARGET.sub(changed, markdown)
