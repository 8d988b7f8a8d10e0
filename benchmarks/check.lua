-- What wrk runs: sends the requests in turn, and holds every answer against the body that is right for the
-- request it answers. A thread with several connections can't tell which that is, so it must have one alone
-- where requests differ.
-- Arguments: the file with the requests, the file with the body of each, as records of "<length>\n<bytes>".

local threads = {}

function setup(thread)
  thread:set("last", #threads)
  table.insert(threads, thread)
end

local function records(path)
  local file = assert(io.open(path, "rb"))
  local found = {}
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    table.insert(found, length > 0 and file:read(length) or "")
  end
  file:close()
  return found
end

local requests, right

function init(args)
  requests, right = records(args[1]), records(args[2])
  right_answers, wrong_answers, problem = 0, 0, ""
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function response(status, headers, body)
  if status == 200 and body == right[last] then
    right_answers = right_answers + 1
  else
    wrong_answers = wrong_answers + 1
    if problem == "" then problem = status .. " " .. body:sub(1, 200) end
  end
end

function done(summary, latency, _)
  local answers, wrong, first = 0, 0, ""
  for _, thread in ipairs(threads) do
    answers = answers + thread:get("right_answers")
    wrong = wrong + thread:get("wrong_answers")
    if first == "" then first = thread:get("problem") end
  end
  local errors = summary.errors
  io.write(string.format(
    "\nOUTCOME %d %d %d %.6f %.6f %.6f %s\n",
    answers, wrong, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    (first:gsub("%c", " "))
  ))
end
