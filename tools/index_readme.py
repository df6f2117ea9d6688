"""README.md as a package index shows it: links and pictures of the repository by their full addresses.

setup.py hands it to the index. The addresses are those of the release's own tag, so that the page of a version keeps
telling about that version.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "se600m/se600m-go"
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def readme(version: str) -> str:
    """Give the text with absolute links."""

    def absolute(link: re.Match[str]) -> str:
        target = link["target"]
        if re.match(r"[a-z]+:|#", target):
            return link[0]
        host = "https://raw.githubusercontent.com/{}/v{}/{}" if link["picture"] else "https://github.com/{}/blob/v{}/{}"
        return f"{link['picture']}[{link['text']}]({host.format(REPOSITORY, version, target)})"

    return LINK.sub(absolute, (ROOT / "README.md").read_text(encoding="utf-8"))
