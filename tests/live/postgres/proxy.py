"""Stands between a client and PostgreSQL, and cuts connections at commits.

    proxy.py PORT EVERY     forwards to 127.0.0.1:PORT; prints the port that it listens on

Of the statements that end a transaction which wrote, every EVERY-th breaks its connection: in turn before it reaches the server, after
the server has done it, and at once after it was sent. The number of cuts is printed at the end of the input.
"""

import asyncio
import sys

target, every = int(sys.argv[1]), int(sys.argv[2])
commits = cuts = 0


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def statements(reader, writer, answers):
    """Returns when the client has gone, or a connection is to be cut."""
    global commits, cuts
    while data := await reader.read(65536):
        is_due = False
        if b"; COMMIT" in data:
            commits += 1
            is_due = commits % every == 0
        if not is_due:
            writer.write(data)
            await writer.drain()
            continue
        cuts += 1
        if cuts % 3 != 0:
            answers.cancel()
            writer.write(data)
            await writer.drain()
        if cuts % 3 == 1:
            await asyncio.sleep(0.02)
        return


async def serve(reader, writer):
    try:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.close()
        return
    answers = asyncio.create_task(pump(from_server, writer))
    try:
        await statements(reader, to_server, answers)
    except OSError:
        pass
    finally:
        answers.cancel()
        writer.transport.abort()
        to_server.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    print(cuts, flush=True)


asyncio.run(main())
