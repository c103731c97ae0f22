-- A breaker that several processes share. The rules are those of upstream/breaker.py.
--
-- KEYS[1]: the breaker. ARGV: verb ("admit" or "record"), now in ms or "" for the store's own clock, whether it was
-- a fault, whether it was the verification call ("1" or "0").
-- "admit" returns 0 to go on, -1 to probe first, or how many ms to wait; "record" returns 1 if it is open now.

local IN_A_ROW, CALLS_MIN, FAULTS_PERCENT, PERIOD = 8, 20, 70, 60000
local OPEN, OPEN_MAX, PROBE, KEEP_MS = 15000, 300000, 45000, 3600000

local key, verb, now = KEYS[1], ARGV[1], tonumber(ARGV[2])
local fault, probe = ARGV[3] == '1', ARGV[4] == '1'
if now == nil then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local gate = {row = 0, period = 0, calls = 0, faults = 0, calls_before = 0, faults_before = 0, opened = 0, till = 0, probing = 0}
local kept = redis.call('HGETALL', key)
for place = 1, #kept, 2 do gate[kept[place]] = tonumber(kept[place + 1]) end

local function save()
  local fields = {}
  for name, value in pairs(gate) do
    fields[#fields + 1] = name
    fields[#fields + 1] = string.format('%d', value)
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('PEXPIRE', key, KEEP_MS)
end

local function open()
  gate.opened = gate.opened + 1
  gate.till = now + math.min(OPEN_MAX, OPEN * 2 ^ math.min(gate.opened - 1, 10))
  gate.probing = 0
end

if verb == 'admit' then
  if gate.opened == 0 then return 0 end
  if gate.till > now then return gate.till - now end
  if gate.probing > now then return gate.probing - now end
  gate.probing = now + PROBE
  save()
  return -1
end

if gate.opened > 0 then
  if probe and fault then
    open()
    save()
  elseif probe then
    redis.call('DEL', key)
    return 0
  end
  return 1
end

local period = math.floor(now / PERIOD)
if period ~= gate.period then
  local follows = period == gate.period + 1
  gate.calls_before, gate.faults_before = follows and gate.calls or 0, follows and gate.faults or 0
  gate.period, gate.calls, gate.faults = period, 0, 0
end
gate.calls = gate.calls + 1
if fault then
  gate.faults, gate.row = gate.faults + 1, gate.row + 1
else
  gate.row = 0
end
local calls, faults = gate.calls + gate.calls_before, gate.faults + gate.faults_before
if gate.row >= IN_A_ROW or (fault and calls >= CALLS_MIN and faults * 100 >= FAULTS_PERCENT * calls) then open() end
save()
return gate.opened > 0 and 1 or 0
