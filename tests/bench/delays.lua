-- Requests whose answers take 100 to 200 ms, as if evenly, the same in each run: a P99 that is known. None takes more
-- than twice the mean, so that wrk adds nothing for requests that it would have sent meanwhile.
local count = 0

request = function()
    count = count + 1
    return wrk.format("GET", "/delay/" .. 100 + (count * 7919) % 101 .. "/size/1k")
end
