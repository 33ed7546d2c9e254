"""Who a process of a lab is: a user, and what it may do besides; setpriv(1) makes it so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """A user of the lab, with a group of the same name and number and no other.

    capabilities: all that its process has, or could ever get, as capabilities(7) names them without CAP_
    account: the name, where the program asks for it
    """

    uid: int
    capabilities: tuple[str, ...] = ()
    account: str | None = None

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words that go before a command."""
        some = ",".join(["-all", *(f"+{name.lower()}" for name in self.capabilities)])
        words = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", f"--bounding-set={some}"]
        # root has what it may have; of another user a program has what it inherits
        inherited = some if self.uid else "-all"
        return (*words, f"--inh-caps={inherited}", f"--ambient-caps={inherited}", "--no-new-privs", "--")
