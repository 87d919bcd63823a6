-- The load of bench/compare.sh, for wrk: every request has a number of its own.
--
-- From the environment, since wrk hands arguments to threads only:
--   LOAD_TARGETS  HOST:PORT,..  one a thread, in turn
--   LOAD_METHOD   the method
--   LOAD_PATH     the request target; {n} stands for the number, of 16 digits
--   LOAD_BODY     the content, with {n} likewise; empty for none
--   LOAD_BODY_FILE a file with the content, where it is too long for the environment
--   LOAD_TYPE     its media type
--   LOAD_FIRST    the first number
--   LOAD_KEYS     how many numbers there are, before the first comes again; 0: no end
--   LOAD_WRONG    text that in an answer of status 200 tells of a failure; empty for none
--   LOAD_REQUESTS a file of whole requests instead, of `quorate bench --save-requests` for the same
--                 targets: each is sent once, and one more than there are counts as refused
--
-- Ends with one line of JSON.

local targets = {}
for target in string.gmatch(os.getenv("LOAD_TARGETS"), "[^,]+") do
   targets[#targets + 1] = target
end
local threads = {}

function setup(thread)
   local host, port = string.match(targets[#threads % #targets + 1], "^(.*):(%d+)$")
   thread.addr = wrk.lookup(host, port)[1]
   thread:set("place", #threads)
   thread:set("count", #targets)
   thread:set("host", host .. ":" .. port)
   threads[#threads + 1] = thread
end

-- The requests of a file that are for the target at this place.
local function saved(path)
   local file, mine, position = assert(io.open(path, "rb")), {}, 0
   for length in function() return file:read("*l") end do
      local whole = file:read(tonumber(length))
      if position % count == place then mine[#mine + 1] = whole end
      position = position + 1
   end
   file:close()
   return mine
end

-- The text before and after each {n}.
local function split(template)
   local parts, from = {}, 1
   while true do
      local first, last = string.find(template, "{n}", from, true)
      parts[#parts + 1] = string.sub(template, from, (first or 0) - 1)
      if not first then return parts end
      from = last + 1
   end
end

function init(_)
   first = tonumber(os.getenv("LOAD_FIRST"))
   number, step = first + place, count
   wrong = 0
   local file = os.getenv("LOAD_REQUESTS")
   if file then
      requests, sent = saved(file), 0
      return
   end
   keys = tonumber(os.getenv("LOAD_KEYS"))
   local method, body = os.getenv("LOAD_METHOD"), os.getenv("LOAD_BODY")
   if not body then
      local file = assert(io.open(os.getenv("LOAD_BODY_FILE"), "rb"))
      body = file:read("*a")
      file:close()
   end
   local digits = string.rep("0", 16)
   local fields = "\r\nHost: " .. host
   if body ~= "" then
      local bytes = #table.concat(split(body), digits)
      fields = fields .. "\r\nContent-Type: " .. os.getenv("LOAD_TYPE")
         .. "\r\nContent-Length: " .. bytes
   end
   -- A request differs from the next by its number alone, so the rest is written once.
   parts = split(method .. " " .. os.getenv("LOAD_PATH") .. " HTTP/1.1" .. fields
      .. "\r\n\r\n" .. body)
   telltale = os.getenv("LOAD_WRONG")
   if telltale ~= "" then
      response = function(status, _, content)
         if status == 200 and string.find(content, telltale, 1, true) then
            wrong = wrong + 1
         end
      end
   end
end

function request()
   if requests then
      sent = sent + 1
      if sent > #requests then
         wrong = wrong + 1
         wrk.thread:stop()
      end
      return requests[(sent - 1) % #requests + 1]
   end
   number = number + step
   local told = keys > 0 and first + (number - first) % keys or number
   return table.concat(parts, string.format("%.0f", told))
end

function done(summary, latency, _)
   local errors, refused = summary.errors, 0
   for _, thread in ipairs(threads) do
      refused = refused + thread:get("wrong")
   end
   local failed = errors.connect + errors.read + errors.write + errors.timeout
   io.write(string.format(
      '{"answers":%d,"seconds":%.6f,"refused":%d,"failed":%d,'
         .. '"p50_us":%d,"p90_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
      summary.requests, summary.duration / 1e6, errors.status + refused, failed,
      latency:percentile(50), latency:percentile(90), latency:percentile(99),
      latency:percentile(99.9), latency.max))
end
