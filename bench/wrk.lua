-- What wrk is told: numbers of its own for each request, or a body of a size; JSON at the end.
--
--     wrk ... -s wrk.lua URL -- numbers 4096
--     wrk ... -s wrk.lua URL -- body 1024

local requests, count, at = {}, 0, 0

function init(args)
   local size = tonumber(args[2])
   if args[1] == "body" then
      wrk.method, wrk.body = "POST", string.rep("x", size)
      requests[1] = wrk.format()
   else
      for n = 1, size do
         requests[n] = wrk.format(nil, wrk.path .. "?n=" .. n .. "&n=3&n=5")
      end
   end
   count = #requests
end

function request()
   at = at % count + 1
   return requests[at]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"right": %d, "rate": %f, "p50_ms": %f, "p99_ms": %f, "errors": %d}\n',
      summary.requests - errors.status, summary.requests / summary.duration * 1e6,
      latency:percentile(50) / 1000, latency:percentile(99) / 1000,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
