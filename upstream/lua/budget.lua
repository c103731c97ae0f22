-- Budgets that several processes share. The arithmetic is that of upstream/bucket.py, number for number.
--
-- KEYS: the buckets. ARGV: verb ("take" or "settle"), now in ms or "" for the store's own clock, the slip,
-- the purpose (its place, 0 to 2), and as JSON the rule of each bucket and, for "settle", what was heard.
-- "take" takes from all buckets, or from none; it returns how many ms to wait, 0 if it has taken.

local SLOTS, FOREIGN, FULL_WAIT, LAST, EASED = 20, 4, 200, 2, 5
local SHARE, KEPT = {60, 30, 10}, {0, 5, 10}
local KEEP_MS = 3600000

local verb, now, slip, mine = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]) + 1
local rules, heard = cjson.decode(ARGV[5]), cjson.decode(ARGV[6])
if now == nil then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local floor, max, min = math.floor, math.max, math.min

local function load(key)
  local kept = redis.call('GET', key)
  local state = kept and cjson.decode(kept) or {}
  for _, name in ipairs({'slots', 'asked', 'running'}) do state[name] = state[name] or {} end
  for _, name in ipairs({'held', 'limit', 'told', 'cut'}) do state[name] = state[name] or 0 end
  return state
end

local function save(key, state, rule)
  local longest = max(rule.window_ms * 2, rule.lease_ms, state.held - now, KEEP_MS)
  redis.call('SET', key, cjson.encode(state), 'PX', string.format('%d', longest))
end

local function limit_of(state, rule)
  if rule.adapts and state.limit ~= 0 then return floor(state.limit / 1000) end
  return state.told ~= 0 and state.told or rule.limit
end

local function width_of(rule) return max(1, -floor(-rule.window_ms / SLOTS)) end
local function share(limit, place) return max(1, floor(limit * SHARE[place] / 100)) end

local function kept(limit, place)
  if KEPT[place] == 0 or limit < 2 then return 0 end
  return max(1, floor(limit * KEPT[place] / 100))
end

local function cost_of(rule, limit) return max(1, min(rule.cost, limit - kept(limit, mine))) end

local function used_at(state, rule, at)
  local oldest, used = floor(at / width_of(rule)) - SLOTS, {0, 0, 0, 0}
  for number, slot in pairs(state.slots) do
    if tonumber(number) >= oldest then
      for place = 1, FOREIGN do used[place] = used[place] + slot[place] end
    end
  end
  return used
end

local function sum(used) return used[1] + used[2] + used[3] + used[4] end

local function has_room(state, rule, at)
  local limit, used = limit_of(state, rule), used_at(state, rule, at)
  local free, cost = limit - sum(used), cost_of(rule, limit_of(state, rule))
  local last = mine == 3 and floor(limit * LAST / 100) or 0
  if used[mine] < share(limit, mine) and cost <= free - last then return true end
  local reserved = 0
  for place = 1, 3 do
    local asked = state.asked[tostring(place)]
    if place ~= mine and asked and asked > at - rule.window_ms then
      reserved = reserved + max(0, share(limit, place) - used[place])
    end
  end
  return cost <= free - reserved - kept(limit, mine)
end

local function is_full(state, rule)
  local running, back = 0, (mine == 3 and rule.concurrency > 1) and 1 or 0
  for _, till in pairs(state.running) do
    if till > now then running = running + 1 end
  end
  return running >= rule.concurrency - back
end

local function wait_of(state, rule)
  if state.held > now then return state.held - now end
  if rule.concurrency > 0 and is_full(state, rule) then return FULL_WAIT end
  if limit_of(state, rule) == 0 or has_room(state, rule, now) then return 0 end
  local ends = {}
  for number in pairs(state.slots) do ends[#ends + 1] = (tonumber(number) + SLOTS + 1) * width_of(rule) end
  table.sort(ends)
  for _, at in ipairs(ends) do
    if at > now and has_room(state, rule, at) then return at - now end
  end
  return rule.window_ms
end

local function forget(state, rule)
  local oldest = floor(now / width_of(rule)) - SLOTS
  for number in pairs(state.slots) do
    if tonumber(number) < oldest then state.slots[number] = nil end
  end
  for name, till in pairs(state.running) do
    if till <= now then state.running[name] = nil end
  end
end

local function slot_of(state, number)
  local name = string.format('%d', number)
  state.slots[name] = state.slots[name] or {0, 0, 0, 0}
  return state.slots[name]
end

local function take(state, rule)
  forget(state, rule)
  if limit_of(state, rule) > 0 then
    local slot = slot_of(state, floor(now / width_of(rule)))
    slot[mine] = slot[mine] + cost_of(rule, limit_of(state, rule))
  end
  if rule.concurrency > 0 then state.running[slip] = now + rule.lease_ms end
end

local function correct(state, rule, said)
  local missing = limit_of(state, rule) - sum(used_at(state, rule, now)) - said.remaining
  if missing <= 0 then return end
  local width = width_of(rule)
  local present = floor(now / width)
  local gone = present
  if said.reset_ms >= 0 and said.reset_ms < rule.window_ms then
    gone = floor((now + said.reset_ms) / width) - SLOTS
  end
  local slot = slot_of(state, max(present - SLOTS, min(present, gone)))
  slot[FOREIGN] = slot[FOREIGN] + missing
end

local function adapt(state, rule, said)
  local declared = (state.told ~= 0 and state.told or rule.limit) * 1000
  if declared == 0 then return end
  local present = state.limit ~= 0 and state.limit or declared
  if said.throttled and now >= state.cut then
    state.limit = max(1000, floor(present / 2))
    state.cut = now + max(said.hold_ms, floor(rule.window_ms / SLOTS))
  elseif said.ok and state.limit ~= 0 then
    state.limit = min(declared, present + floor(EASED * 10 * declared / present))
  end
end

local function settle(state, rule, said)
  state.running[slip] = nil
  if said.limit > 0 then state.told = said.limit end
  if said.remaining >= 0 and limit_of(state, rule) > 0 then correct(state, rule, said) end
  if said.hold_ms > 0 then state.held = max(state.held, now + said.hold_ms) end
  if rule.adapts then adapt(state, rule, said) end
end

local states, wait = {}, 0
for place, key in ipairs(KEYS) do
  states[place] = load(key)
  if verb == 'take' then
    states[place].asked[tostring(mine)] = now
    wait = max(wait, wait_of(states[place], rules[place]))
  else
    settle(states[place], rules[place], heard[place])
  end
end
for place, key in ipairs(KEYS) do
  if verb == 'take' and wait == 0 then take(states[place], rules[place]) end
  save(key, states[place], rules[place])
end
return wait
