"""What the built documentation has that is not written by hand; ``mkdocs.yml`` names this as its hook."""

from __future__ import annotations

from command_pages import commands_page
from displacement_figures import FIGURES, THEMES, drawn
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from setting_pages import settings_page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages on commands and settings, and the figures in light and dark."""
    made = {"reference/commands.md": commands_page(), "reference/settings.md": settings_page()}
    made |= {f"assets/{name}-{theme}.svg": drawn(name, theme) for name in FIGURES for theme in THEMES}
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files
