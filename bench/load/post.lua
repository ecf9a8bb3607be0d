-- Single posts, each with a key of its own. BENCH_KEY is the API key, BENCH_RUN makes keys of this run unique.
local thread_count = 0
function setup(thread)
  thread_count = thread_count + 1
  thread:set("thread_number", thread_count)
end

function init(args)
  sent = 0
  math.randomseed(thread_number)
  run = os.getenv("BENCH_RUN")
  headers = {
    ["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY"),
    ["Content-Type"] = "application/json",
  }
end

function request()
  sent = sent + 1
  headers["Idempotency-Key"] = run .. "-" .. thread_number .. "-" .. sent
  local who = math.random(1, 100000)
  local body = string.format(
    '{"user_id":"u-%d","wallet_id":"w-%d","type":"payment","amount":"%d.%02d","fee":"1.50","currency":"ZAR","reference":"order-%d","metadata":{"channel":"app"}}',
    who, who, math.random(1, 5000), math.random(0, 99), sent)
  return wrk.format("POST", "/api/v1/transactions", headers, body)
end

function done(summary, latency, requests)
  io.write(string.format(
    'JSON {"requests": %d, "duration_us": %d, "not_2xx": %d, "broken": %d, "p50_us": %d, "p95_us": %d, "p99_us": %d, "max_us": %d}\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max))
end
