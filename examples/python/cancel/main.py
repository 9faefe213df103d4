import asyncio

import shm_protocol


def wait_for_a_moment() -> None:
    with shm_protocol.connect(wait=10) as node:
        print(node.call("site.crawl", 1))
        try:
            node.call("site.crawl", 1_000_000, timeout=0.1)
        except shm_protocol.CallTimeout as error:
            print(f"CallTimeout: {error}")


async def take_the_first() -> None:
    async with await shm_protocol.connect_async() as node:
        crawls = [asyncio.create_task(node.call("site.crawl", pages)) for pages in (1, 1_000_000)]
        done, late = await asyncio.wait(crawls, return_when=asyncio.FIRST_COMPLETED)
        # A task, asyncio.timeout() or a task group that is cancelled cancels the call.
        for crawl in late:
            crawl.cancel()
        print(*[await crawl for crawl in done], "first")
        await asyncio.wait(late)


wait_for_a_moment()
asyncio.run(take_the_first())
