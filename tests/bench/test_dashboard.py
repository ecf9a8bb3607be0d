"""When the benchmark of the dashboard says that a target is missed, and which bytes it counts."""

import gzip

import httpx

from api.dashboard.rendering import assets, environment
from api.documentation.assets import Asset
from bench.dashboard import TARGET_BYTES, TARGET_FIRST_MS, TARGET_P95_MS, first_view_bytes, missed

TARGETS = {"first_ms": TARGET_FIRST_MS, "p95_ms": TARGET_P95_MS, "bytes": TARGET_BYTES}
GOOD = {"first_ms": 300.0, "p50_ms": 900.0, "p95_ms": 100.0, "max_ms": 900.0, "bytes": 93_000}


def test_each_figure_with_a_target_is_judged_and_no_other() -> None:
    assert missed({"Now": GOOD}, TARGETS) == []
    for name, target in TARGETS.items():
        assert missed({"Now": GOOD, "Find": GOOD | {name: target + 1}}, TARGETS) == [f"Find {name}"]


def test_the_first_view_has_the_style_the_script_and_the_icon_as_they_are_sent() -> None:
    frame = {"title": "x", "navigation": [], "refreshes": False, "key_id": "", "notice": "", "now": None, "path": "/"}
    page = environment().get_template("base.html").render(frame | {"request_id": "1"}).encode()
    files = {asset.path: gzip.compress(text_of(asset)) for asset in assets().values()}

    def answer(request: httpx.Request) -> httpx.Response:
        body = files.get(request.url.path)
        if body is None:
            return httpx.Response(200, stream=httpx.ByteStream(page))
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(body))

    with httpx.Client(base_url="http://x", transport=httpx.MockTransport(answer)) as client:
        assert first_view_bytes(client, client.get("/dashboard")) == len(page) + sum(map(len, files.values()))
    assert len(files) == 3


def text_of(asset: Asset) -> bytes:
    """Some text of which the compressed form has another length."""
    return asset.path.encode() * 20
