"""What a host may look like, in `Host` and in a target of absolute form."""

import re
from typing import Final

HOST: Final = re.compile(
    r"(?:\[[0-9a-f:.]+\]|(?:[\w~!$&'()*+,;=%-]{1,63}(?:\.[\w~!$&'()*+,;=%-]{1,63})*\.?)?)(?::\d*)?",
    re.IGNORECASE | re.ASCII,
)
"""RFC 9110 section 7.2: uri-host [ ":" port ]. A name is of labels (RFC 3986 section 3.2.2), or empty."""
