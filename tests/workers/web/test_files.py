"""The page's files: what is in the folder, and nothing that is not."""

from pathlib import Path

from cpppod.workers.web.files import STATIC, load


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "index.html").write_text("page")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "program.py").write_text("pass")
    assert list(load(folder)) == ["index.html"]


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline() -> None:
    for path in [*STATIC.rglob("*.js"), *STATIC.rglob("*.html"), *STATIC.rglob("*.css")]:
        if "uplot" in path.parts:
            continue
        text = path.read_text("utf-8")
        for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", " style="):
            assert word not in text, path
        for scheme in ("http://", "https://", "//cdn"):
            assert scheme not in text.replace("http://www.w3.org/2000/svg", ""), path
