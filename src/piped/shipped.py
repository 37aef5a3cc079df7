"""What comes with Piped: which module has which component.

A module is imported when a document names one of its components, and not before: what is not
configured costs nothing. A test compares these tables with the declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_BY_MODULE: Final = {
    "piped.processors.batching": "batch",
    "piped.processors.breaking": "circuit-breaker",
    "piped.processors.calls": "call-dependency call-named-any",
    "piped.processors.catching": "fallback try",
    "piped.processors.choices": "switch when",
    "piped.processors.code": "eval-lambda exec-code map",
    "piped.processors.collecting": "collect-batons",
    "piped.processors.contexts": "fetch-context fetch-persisted-context",
    "piped.processors.dates": "format-date parse-datetime",
    "piped.processors.deadlines": "timeout",
    "piped.processors.failures": "print-failure-traceback raise-exception trap-failure",
    "piped.processors.files": "append-to-file",
    "piped.processors.flow": "lambda-decider passthrough shutdown stop wait",
    "piped.processors.for_each": "for-each",
    "piped.processors.formats": "decode encode",
    "piped.processors.http_client": "http-request web-client-get-page",
    "piped.processors.jobs": "submit-work",
    "piped.processors.json_text": "decode-json encode-json",
    "piped.processors.letters": "dead-letter",
    "piped.processors.limits": "limit-concurrency throttle",
    "piped.processors.lists": "flatten-list-of-dictionaries flatten-nested-lists group-by-value",
    "piped.processors.logs": "log pretty-print",
    "piped.processors.merging": "merge-with-dict",
    "piped.processors.nats": "fetch-nats-value publish-nats-message request-nats store-nats-value",
    "piped.processors.parts": "fetch-idempotency-key",
    "piped.processors.pipelines": "run-pipeline run-pipeline-if",
    "piped.processors.repeats": "cache dedupe",
    "piped.processors.retrying": "retry",
    "piped.processors.scatter": "scatter-gather",
    "piped.processors.taps": "wire-tap",
    "piped.processors.templates": "render-template",
    "piped.processors.text": "decode-string encode-string format-string prefix-string",
    "piped.processors.ticks": "start-tick-interval stop-tick-interval",
    "piped.processors.validating": "validate",
    "piped.processors.values": "clean-baton increment-counter remap set-value set-values",
    "piped.processors.web": "extract-web-request-arguments set-http-headers write-web-response",
    "piped.processors.web_headers": "determine-ip set-http-expires",
    "piped.processors.web_streams": "stream-web-response",
    "piped.processors.websocket": "close-websocket join-websocket-group send-websocket-message",
    "piped.processors.zmq": "send-zmq-message",
    "piped.status.processors": "create-statustest-reporter wait-for-statustest-reporter",
}

PROCESSORS: Final[Mapping[str, str]] = {
    name: module for module, names in _BY_MODULE.items() for name in names.split()
}

PROVIDERS: Final[Mapping[str, str]] = {
    "admin": "piped.observe.admin",
    "background": "piped.providers.background",
    "contexts": "piped.providers.contexts",
    "http_client": "piped.providers.http_client",
    "logging": "piped.providers.logging",
    "nats": "piped.providers.nats",
    "persisted_contexts": "piped.providers.persisted_contexts",
    "processes": "piped.providers.processes",
    "stdin": "piped.providers.stdin",
    "system-events": "piped.providers.events",
    "threads": "piped.providers.threads",
    "ticks": "piped.providers.ticks",
    "web": "piped.providers.web",
    "workers": "piped.workers",
    "zmq": "piped.providers.zmq",
}
