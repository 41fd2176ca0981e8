-- wrk's requests in turn: /bench/v1/items/0, 1, … below `items`, with the keys of a file in turn.
-- wrk -s requests.lua URL -- ITEMS FIRST KEYS
local items, at, keys = 1, 0, {}

function init(arguments)
    items, at = tonumber(arguments[1]), tonumber(arguments[2])
    for key in io.lines(arguments[3]) do keys[#keys + 1] = key end
end

function request()
    at = at + 1
    wrk.headers["headroom-key"] = keys[at % #keys + 1]
    return wrk.format(nil, "/bench/v1/items/" .. at % items)
end
