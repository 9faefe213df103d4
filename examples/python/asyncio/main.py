import asyncio

import shm_protocol


async def main() -> None:
    async with await shm_protocol.connect_async(wait=10) as node:
        # A hundred calls over one connection, all under way at once: none is answered before the last has been made.
        answers = await asyncio.gather(*(node.call("meeting.attend", f"guest {i}", 100) for i in range(100)))
        print(len(answers), "answers:", answers[0], "…", answers[-1])

        # The loop goes on while a call is awaited. A task that is cancelled tells the other side not to go on.
        task = asyncio.create_task(node.call("meeting.never"))
        await asyncio.sleep(0)
        task.cancel()
        print("cancelled:", (await asyncio.gather(task, return_exceptions=True))[0].__class__.__name__)

        # asyncio's own time-outs work as well; timeout= tells the other side how long it has.
        try:
            async with asyncio.timeout(0.2):
                await node.call("meeting.never")
        except TimeoutError:
            print("given up after 0.2 s")


asyncio.run(main())
