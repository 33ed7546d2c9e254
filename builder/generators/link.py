"""The wait for the network's link, a shell text that generators have in common."""

from __future__ import annotations

# A link negotiates for seconds after it is switched on. ipconfig sends its first request at once and the next one ten
# seconds later (klibc 2.0.12), so that without this every boot waits those ten seconds.
_WAIT = """\
waited=0
while [ $waited -lt 50 ]; do
	for device in /sys/class/net/*; do
		[ "${device##*/}" = lo ] && continue
		read -r flags < "$device/flags" || continue
		[ $((flags & 1)) = 1 ] || echo $((flags | 1)) > "$device/flags"
		carrier=0
		read -r carrier < "$device/carrier"
		[ "$carrier" = 1 ] && %s
	done 2>/dev/null
	sleep 0.1
	waited=$((waited + 1))
done
"""


def await_link(then: str) -> str:
    """Switches the network on and waits, at most five seconds, until one link is up; `then` is what leaves the loop."""
    return _WAIT % then
