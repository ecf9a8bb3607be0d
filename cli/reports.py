"""Reports in Markdown, printed for people or for programs."""

from rich.markdown import Markdown

from cli import terminal


def print_report(text: str) -> None:
    """Print a report: formatted on a terminal, unchanged in a file or a pipe."""
    if terminal.console.is_terminal:
        terminal.console.print(Markdown(terminal.visible(text)))
    else:
        terminal.console.out(text)
