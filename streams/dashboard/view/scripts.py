"""What Redis does in one step: compare, write, index and tell.

Each part of an alert (`alert`, `verdict`) has a version of two numbers. A write that is not newer
than what is stored changes nothing, so it does not matter how often a record is applied, in which
order, or by how many dashboards.
"""

from __future__ import annotations

from typing import Final

PUT: Final = """
-- KEYS: the alert, the changes; ARGV: prefix, id, part, version (two), value, opened or '',
-- changes kept, facets...
local key, part = KEYS[1], ARGV[3]
if ARGV[7] == '' and redis.call('EXISTS', key) == 0 then return -1 end
local held = redis.call('HMGET', key, part .. ':1', part .. ':2')
if held[1] then
  local a, b = tonumber(ARGV[4]), tonumber(ARGV[5])
  local x, y = tonumber(held[1]), tonumber(held[2])
  if a < x or (a == x and b <= y) then return 0 end
end
if ARGV[7] ~= '' then redis.call('HSETNX', key, 'opened', ARGV[7]) end
local opened = redis.call('HGET', key, 'opened')
local function index(facet) return ARGV[1] .. 'by:' .. facet end
for facet in string.gmatch(redis.call('HGET', key, part .. ':facets') or '', '[^\\n]+') do
  redis.call('ZREM', index(facet), ARGV[2])
end
local facets = {}
for place = 9, #ARGV do
  facets[#facets + 1] = ARGV[place]
  redis.call('ZADD', index(ARGV[place]), opened, ARGV[2])
end
redis.call('HSET', key, part, ARGV[6], part .. ':1', ARGV[4], part .. ':2', ARGV[5],
           part .. ':facets', table.concat(facets, '\\n'))
redis.call('ZADD', index('time'), opened, ARGV[2])
if part == 'alert' and redis.call('HEXISTS', key, 'verdict') == 0 then
  redis.call('ZADD', index('decision:undecided'), opened, ARGV[2])
  redis.call('HSETNX', key, 'verdict:facets', 'decision:undecided')
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[8], '*', 'id', ARGV[2])
return 1
"""

NOTE: Final = """
-- KEYS: the alert, the changes; ARGV: field, value, id, changes kept, how names of such fields
-- begin, of which the last in order are kept, how many
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
local kept = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, #ARGV[5]) == ARGV[5] then kept[#kept + 1] = field end
end
table.sort(kept)
for place = 1, #kept - tonumber(ARGV[6]) do redis.call('HDEL', KEYS[1], kept[place]) end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'id', ARGV[3])
return 1
"""

DROP: Final = """
-- KEYS: the alert; ARGV: prefix, id
for _, part in ipairs({'alert', 'verdict'}) do
  for facet in string.gmatch(redis.call('HGET', KEYS[1], part .. ':facets') or '', '[^\\n]+') do
    redis.call('ZREM', ARGV[1] .. 'by:' .. facet, ARGV[2])
  end
end
redis.call('ZREM', ARGV[1] .. 'by:time', ARGV[2])
return redis.call('UNLINK', KEYS[1])
"""

ADVANCE: Final = """
-- KEYS: the positions; ARGV: partition, offset that must be there, offset: never back
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1]))
if not held or held < tonumber(ARGV[2]) then return -1 end
if held >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""

_OLDEST_GO: Final = """
-- Of what is in KEYS[1] ARGV[1] are kept at most, those that came last by KEYS[2].
local surplus = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[1])
for start = 1, surplus, 1000 do
  local gone = redis.call('ZRANGE', KEYS[2], 0, math.min(1000, surplus - start + 1) - 1)
  redis.call('%s', KEYS[1], unpack(gone))
  redis.call('ZREM', KEYS[2], unpack(gone))
end
"""

KEEP: Final = (
    """
-- KEYS: verdicts by what they are on, when each came; ARGV: kept at most, now, then of each
-- verdict: what it is on, version (two), value
for place = 3, #ARGV, 4 do
  local name, a, b = ARGV[place], tonumber(ARGV[place + 1]), tonumber(ARGV[place + 2])
  local held = redis.call('HGET', KEYS[1], name)
  local x, y = string.match(held or '', '^(%-?%d+) (%-?%d+) ')
  x, y = tonumber(x), tonumber(y)
  if not x or a > x or (a == x and b > y) then
    local version = ARGV[place + 1] .. ' ' .. ARGV[place + 2]
    redis.call('HSET', KEYS[1], name, version .. ' ' .. ARGV[place + 3])
    redis.call('ZADD', KEYS[2], ARGV[2], name)
  end
end
"""
    + _OLDEST_GO % "HDEL"
)

KEEP_ACTIONS: Final = (
    """
-- KEYS: actions in order of their names, when each came; ARGV: kept at most, now, actions...
for place = 3, #ARGV do
  redis.call('ZADD', KEYS[1], 0, ARGV[place])
  redis.call('ZADD', KEYS[2], 'NX', ARGV[2], ARGV[place])
end
"""
    + _OLDEST_GO % "ZREM"
)
