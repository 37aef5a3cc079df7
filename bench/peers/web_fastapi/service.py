"""The first service with FastAPI: GET /?n=1&n=2."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query

app = FastAPI()


@app.get("/")
async def compute(n: Annotated[list[int], Query()]) -> dict[str, int]:
    total, square = sum(number**2 for number in n), sum(n) ** 2
    return {"sum": total, "square": square, "diff": square - total}
