"""The settings: one frozen model, read once at start. Nothing else in the project reads the environment."""

from config.settings import Settings, load_settings

__all__ = ["Settings", "load_settings"]
