"""A client that nobody stands at gets on by itself: shell functions that generators have in common.

`boot.on_failure` says what happens where no address comes, or the root cannot be mounted: the client tries again for
ever, starts anew, or opens a shell. One argument on the kernel's command line says otherwise for one boot, so that
somebody who stands at a client can look.
"""

from __future__ import annotations

from builder.model.recipe import OnFailure

# on the kernel command line: what to do when the root is not mounted, for one boot
ON_FAILURE_ARGUMENT = "diskless.on_failure"

_FUNCTIONS = f"""\
diskless_say() {{
	echo "diskless: $*"
}}

# the value of a word of the kernel command line ($1), else $2: what comes last counts
diskless_from_cmdline() {{
	diskless_value=$2
	read -r diskless_line < /proc/cmdline
	set -f
	for diskless_word in $diskless_line; do
		case $diskless_word in "$1"=?*) diskless_value=${{diskless_word#*=}} ;; esac
	done
	set +f
}}

# what boot.on_failure of the recipe says ($1: what is the matter): it comes back where something is to be tried again
diskless_on_failure() {{
	diskless_from_cmdline {ON_FAILURE_ARGUMENT} @ON_FAILURE@
	case $diskless_value in
	{OnFailure.SHELL}) diskless_shell "$1" ;;
	{OnFailure.REBOOT})
		diskless_say "$1: starting anew in 30 seconds"
		sleep 30
		reboot -f
		sleep 60
		;;
	*)
		diskless_say "$1: trying again; a shell: {ON_FAILURE_ARGUMENT}={OnFailure.SHELL} on the kernel command line"
		sleep 5
		;;
	esac
}}
"""


def functions(on_failure: OnFailure) -> str:
    """The functions: diskless_say, diskless_from_cmdline and diskless_on_failure, which calls diskless_shell."""
    return _FUNCTIONS.replace("@ON_FAILURE@", on_failure)
