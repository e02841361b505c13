-- Managed by "lsyncd as code": the next `npm run up` overwrites what is changed here by hand.
--
-- Makes lsyncd 2.2 compare a new change only with those that it can affect. By itself it compares it with every change that waits,
-- so a burst costs the square of their number. lsyncd.conf.lua runs this before `sync`. Returns whether this lsyncd is one that it knows;
-- another one works as it is.
--
-- A change of a file affects changes of the same path, of the directories above it, and those that are not of one path (Init,
-- Blanket, Move). lsyncd still decides how: here it only gets fewer to look at, in the same order.

-- The value that a function of lsyncd uses under a name.
local function used(by, wanted)
    if type(by) ~= "function" then return nil end
    for index = 1, 255 do
        local name, value = debug.getupvalue(by, index)
        if name == nil then return nil end
        if name == wanted then return value end
    end
    return nil
end

local function field(of, name)
    if type(of) ~= "table" then return nil end
    return rawget(of, name)
end

local new_sync = field(used(field(used(sync, "Syncs"), "add"), "Sync"), "new")
local queues, delays = rawget(_G, "Queue"), used(used(new_sync, "delay"), "Delay")
if not (field(queues, "new") and field(delays, "new")) then return false end

local one_path = { Create = true, Modify = true, Attrib = true, Delete = true }
local new_queue, new_delay = queues.new, delays.new
local slash = 47
-- lsyncd makes a change and then asks for the waiting ones to compare it with.
local newest

function delays.new(...)
    newest = new_delay(...)
    return newest
end

function queues.new()
    local queue = new_queue()
    local push, remove, replace, all = queue.push, queue.remove, queue.replace, queue.qpairsReverse
    -- The positions of the changes of each path: a number, or a set of them. Those that are not of one path are under `other`.
    local other = {}
    local places = {}

    local function key(change) return one_path[change.etype] and change.path or other end

    local function add(position, change)
        local at = key(change)
        local known = places[at]
        if known == nil then
            places[at] = position
        elseif type(known) == "table" then
            known[position] = true
        elseif known ~= position then
            places[at] = { [known] = true, [position] = true }
        end
    end

    local function forget(position, change)
        local at = key(change)
        local known = places[at]
        if type(known) ~= "table" then
            places[at] = nil
            return
        end
        known[position] = nil
        if next(known) == nil then places[at] = nil end
    end

    function queue.push(self, change)
        local position = push(self, change)
        add(position, change)
        return position
    end

    function queue.remove(self, position)
        local change = self[position]
        if change ~= nil then forget(position, change) end
        return remove(self, position)
    end

    function queue.replace(self, position, change)
        local before = self[position]
        if before ~= nil then forget(position, before) end
        replace(self, position, change)
        add(position, change)
    end

    function queue.qpairsReverse(self)
        local path = newest.path
        -- A directory can affect all that is below it.
        if not one_path[newest.etype] or path:byte(-1) == slash then return all(self) end
        local found = {}
        local function collect(at)
            local known = places[at]
            if type(known) == "table" then
                for position in pairs(known) do found[#found + 1] = position end
            elseif known ~= nil then
                found[#found + 1] = known
            end
        end
        collect(other)
        collect(path)
        local above = path:find("/", 1, true)
        while above do
            collect(path:sub(1, above))
            above = path:find("/", above + 1, true)
        end
        if #found > 1 then table.sort(found) end
        local index = #found + 1
        return function()
            index = index - 1
            local position = found[index]
            if position ~= nil then return position, self[position] end
        end
    end

    return queue
end

-- lsyncd frees what belongs to a change only in the second collection after its end (its table of events has weak keys and values),
-- and Lua's default starts the next one when memory has doubled: it would grow for as long as changes keep coming.
collectgarbage("setpause", 100)
return true
