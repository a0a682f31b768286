"""When Python looks for garbage, in a process that answers many requests.

By its own rule it looks when many more objects were made than freed. Where each report replaces an
old one that is seldom so, and hundreds of thousands of new ones are looked through at once, while
everybody waits. Here it is the clock that says when.
"""

import asyncio
import gc

_YOUNG_S = 0.1
"""Some thousand new objects, even with 10,000 agents: a millisecond or two."""
_ALL_S = 3600.0
"""Holds everybody up, a second on such a site; what it finds had lived past its first look."""


async def collect_by_the_clock() -> None:
    """Until cancelled. What is loaded when it begins stays, and is not looked through."""
    loop = asyncio.get_running_loop()
    gc.disable()
    gc.collect()
    gc.freeze()
    try:
        all_at = loop.time() + _ALL_S
        while True:
            await asyncio.sleep(_YOUNG_S)
            if loop.time() < all_at:
                gc.collect(0)
            else:
                gc.collect()
                all_at = loop.time() + _ALL_S
    finally:
        gc.unfreeze()
        gc.enable()
