"""Begin to listen, and say how to go on where that fails: the one place for every HTTP server of ours."""

from aiohttp import web

from failsoft.policy.errors import EnvironmentFailure


async def listen(runner: web.AppRunner, host: str, port: int) -> int:
    """Serve from now on, until the runner is cleaned up.

    Args:
        runner: not set up yet.
        host: to listen on.
        port: to listen on; 0: any free one.

    Returns:
        The port.

    Raises:
        EnvironmentFailure: the port is taken, or is not ours to take; the runner is cleaned up.
    """
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise EnvironmentFailure(
            f"cannot listen on {host}:{port} ({error.strerror}); port 0 takes any free one"
        ) from None
    return int(runner.addresses[0][1])
