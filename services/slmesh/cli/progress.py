"""Shows how a mesh comes up, part by part."""

from __future__ import annotations

from collections.abc import Callable

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from slmesh.cli.output import stderr
from slmesh.platform.supervisor import Progress as Step

__all__ = ["StartDisplay"]

_STYLES = {"healthy": "green", "failed": "red", "recovering": "yellow", "notice": "yellow"}


class StartDisplay:
    """A line for each part that is there, and a clock for what is still waited for.

    Use it as a context manager around the start; give ``show`` to the supervisor. After the start it
    goes on to print what happens to the mesh.
    """

    def __init__(self) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=stderr, transient=True)
        self._task = self._progress.add_task("starting Ray", total=None)
        self._print: Callable[[str], None] = lambda line: stderr.print(line, highlight=False)

    def __enter__(self) -> StartDisplay:
        """Start the clock."""
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the clock."""
        self._progress.stop()

    def show(self, step: Step) -> None:
        """Print one step."""
        if step.state == "starting":
            self._progress.update(self._task, description=f"starting {step.subject}")
            return
        self._progress.update(self._task, description="waiting for the services")
        style = _STYLES.get(step.state, "dim")
        why = f" {step.message}" if step.message else ""
        line = f"  [{style}]{step.state:<10}[/] {step.subject:<12} {step.elapsed_s:5.1f} s[dim]{why}[/]"
        self._print(line)
