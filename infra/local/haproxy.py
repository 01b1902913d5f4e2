"""HAProxy in front of several gateways: round-robin over those whose `/readyz` answers 200.

The `Host` that the client sent reaches the gateway, which checks it. A request that had not reached
a gateway goes to another one; one that had is not sent twice. When no gateway is ready HAProxy
itself answers problem+json 503 with `Retry-After`.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from infra.local.child import Command
from infra.local.ports import Ports, is_free
from infra.local.server import Server, ServerFailed

CONFIGURATION = """\
global
    nbthread 1
defaults
    mode http
    timeout connect 1s
    timeout client 75s
    timeout server 75s
    option abortonclose
    option redispatch 1
    retries 2
    retry-on conn-failure
    http-error status 502 content-type application/problem+json string '{cut_off}'
    http-error status 504 content-type application/problem+json string '{timed_out}'
    http-error status 503 content-type application/problem+json string '{problem}' hdr Retry-After 1
frontend http
    bind {host}:{port}
    default_backend gateways
backend gateways
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost
    http-check expect status 200
    default-server check inter 500ms fastinter 100ms downinter 250ms fall 2 rise 1 \
observe layer4 error-limit 1 on-error mark-down
{gateways}
"""
PROBLEM = (
    '{"type":"about:blank","title":"Service Unavailable","status":503,'
    '"detail":"No gateway is ready."}'
)

CUT_OFF = (
    '{"type":"about:blank","title":"Bad Gateway","status":502,'
    '"detail":"The gateway went away before it answered: ask again under the same key."}'
)

TIMED_OUT = (
    '{"type":"about:blank","title":"Gateway Timeout","status":504,'
    '"detail":"The gateway did not answer in time: ask again under the same key."}'
)


class Balancer(Server):
    name = "HAProxy"
    port_names = ("balancer",)

    def __init__(
        self, data_dir: Path, port: int, gateway_ports: Sequence[int], host: str = "127.0.0.1"
    ) -> None:
        """Port 0: a free one, kept in the data directory."""
        super().__init__(data_dir.absolute() / "haproxy", Ports(data_dir))
        self._fixed_port = port
        self._host = host
        self._gateway_ports = tuple(gateway_ports)

    @property
    def port(self) -> int:
        return self.ports["balancer"]

    async def start(self) -> None:
        if self._fixed_port == 0:
            await super().start()
        elif is_free(self._fixed_port):
            self._stopped = False
            self.ports = {"balancer": self._fixed_port}
            await self._run()
        else:
            raise ServerFailed(f"Port {self._fixed_port} is taken by another program.")

    def prepare(self) -> None:
        gateways = "\n".join(
            f"    server g{number} 127.0.0.1:{port}"
            for number, port in enumerate(self._gateway_ports, start=1)
        )
        text = CONFIGURATION.format(
            host=self._host,
            port=self.port,
            problem=PROBLEM,
            cut_off=CUT_OFF,
            timed_out=TIMED_OUT,
            gateways=gateways,
        )
        (self.folder / "haproxy.cfg").write_text(text)

    def command(self) -> Command:
        return Command(("haproxy", "-db", "-f", "haproxy.cfg"))

    async def answers(self) -> bool:
        """Whatever the status: a gateway's answer or its own 503."""
        reader, writer = await asyncio.open_connection(self._reached_at, self.port)
        try:
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return (await reader.readline()).startswith(b"HTTP/1.1 ")
        finally:
            writer.close()

    @property
    def _reached_at(self) -> str:
        everywhere = self._host in ("*", "0.0.0.0", "::")  # noqa: S104  (asked for, not chosen)
        return "127.0.0.1" if everywhere else self._host
