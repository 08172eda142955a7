"""Passes connections on, and keeps a copy of all bytes.

    python tee.py HOST PORT TARGET DIRECTORY

Listens on PORT of HOST and connects to TARGET on loopback. The connection number N is
the files N.up (what the client sent) and N.down in DIRECTORY.
"""

import asyncio
import pathlib
import sys

host, port, target = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
directory = pathlib.Path(sys.argv[4])
count = 0


async def copy(reader, writer, path):
    with open(path, "wb") as file:
        try:
            while data := await reader.read(65536):
                file.write(data)
                file.flush()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


async def serve(reader, writer):
    global count
    count += 1
    number = count
    up, down = directory / f"{number}.up", directory / f"{number}.down"
    up.touch()
    try:
        there = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, there[1], up), copy(there[0], writer, down))


async def main():
    server = await asyncio.start_server(serve, host, port)
    async with server:
        await server.serve_forever()


asyncio.run(main())
