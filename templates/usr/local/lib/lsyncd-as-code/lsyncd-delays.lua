-- Managed by "lsyncd as code": the next `npm run up` overwrites what is changed here by hand.
--
-- Makes lsyncd 2.2 keep one waiting change of a file instead of each, and compare a new one with one other, instead of with all that wait: a
-- burst costs it the square of their number. lsyncd.conf.lua runs this before `sync`. Returns whether this lsyncd is one that it knows; another
-- one works as it is. Only for default.rsync, for which a change of a file is its path, whatever its kind.
--
-- lsyncd looks through the waiting changes, from the newest to the oldest, for the first that its rules combine with the new one.
-- For a change of a file, that is the newest of: the changes of a directory above it, the changes of the same file that its rules
-- combine (a Create with an earlier Delete), and Init and Blanket, which concern everything. The rules are asked here, and still decide.
--
-- Its table of rules also says that a waiting change of a file absorbs the next one, or that the next one replaces it. lsyncd 2.2 reads the
-- table and then ignores that. Here the next one is dropped; the waiting one keeps its place and time.

-- lsyncd frees what belongs to a change only in the second collection after its end (its table of events has weak keys and values),
-- and Lua's default starts the next one when memory has doubled: it would grow for as long as changes keep coming.
collectgarbage("setpause", 100)

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

local syncs = used(field(used(field(_G, "sync"), "Syncs"), "add"), "Sync")
local new_sync = field(syncs, "new")
local queues, delay = field(_G, "Queue"), used(new_sync, "delay")
local delays, combine = used(delay, "Delay"), field(used(delay, "Combiner"), "combine")
if not (field(queues, "new") and field(delays, "new") and combine) then return false end

-- The kinds of earlier changes of the same file that lsyncd combines with a new one, by its kind; and all that occur there.
local kinds = { "Create", "Modify", "Attrib", "Delete" }
local same_file, kept = {}, {}
for _, new in ipairs(kinds) do
    local change = { etype = new, path = "/d/f" }
    same_file[new] = {}
    for _, old in ipairs(kinds) do
        if combine({ etype = old, path = "/d/f" }, change) ~= nil then
            table.insert(same_file[new], old)
            kept[old] = true
        end
        if combine({ etype = old, path = "/d/g" }, change) ~= nil or combine({ etype = old, path = "/d/" }, change) == nil then
            return false
        end
    end
    for _, old in ipairs({ "Init", "Blanket" }) do
        if combine({ etype = old, path = "" }, change) == nil then return false end
    end
end

-- A change, as lsyncd makes it: these fields in a table of its own, which is read through a function, and three functions.
local fields, functions = { "etype", "sync", "alarm", "path", "path2", "status" }, { "blockedBy", "setActive", "wait" }

local function holds_only(of, names)
    local count = 0
    for _ in pairs(of) do count = count + 1 end
    for _, name in ipairs(names) do
        if rawget(of, name) == nil then return false end
    end
    return count == #names
end

-- Returns whether lsyncd makes changes like that.
local function knows_changes()
    local change, inner = delays.new("Move", "s", 1, "/a", "/b"), nil
    for key, value in pairs(change) do
        if type(key) == "table" then inner = { key = key, value = value } end
    end
    if inner == nil or not holds_only(inner.value, fields) then return false end
    local outer = { table.unpack(functions) }
    outer[#outer + 1] = inner.key
    return holds_only(change, outer) and change.status == "wait" and change.etype == "Move" and change.path2 == "/b"
end
if not knows_changes() then return false end

local slash = 47
local everything, moves = "everything", "moves"

-- The list that a waiting change is kept in, if any; paths begin with a slash.
local function list_of(change)
    local kind = change.etype
    if same_file[kind] then
        local path = change.path
        if path:byte(-1) == slash then return path end
        return kept[kind] and kind .. path or nil
    end
    return kind == "Move" and moves or everything
end

-- lsyncd's functions of a change, for one whose fields are its own.
local function blocked_by(self, other)
    self.status = "block"
    other.blocks = other.blocks or {}
    table.insert(other.blocks, self)
end

local function set_active(self) self.status = "active" end

local function wait(self, alarm) self.status, self.alarm = "wait", alarm end

-- lsyncd makes a change and then asks for the waiting ones to compare it with.
local newest

function delays.new(kind, sync, alarm, path, path2)
    newest = {
        etype = kind, sync = sync, alarm = alarm, path = path, path2 = path2, status = "wait",
        blockedBy = blocked_by, setActive = set_active, wait = wait,
    }
    return newest
end

function syncs.new(...)
    local one = new_sync(...)
    local absorbs, make = one.delays.absorbs, one.delay
    function one.delay(self, kind, time, path, path2)
        if kind == "Move" and not self.config.onMove then
            -- As lsyncd splits it.
            self:delay("Delete", time, path)
            self:delay("Create", time, path2)
        elseif path2 or not absorbs(path) then
            make(self, kind, time, path, path2)
        end
    end
    return one
end

local new_queue = queues.new

function queues.new()
    local queue = new_queue()
    local push, remove, replace, all = queue.push, queue.remove, queue.replace, queue.qpairsReverse
    -- Positions in the queue, ascending; some are of changes that have left it. `live` of them are not.
    local lists = {}
    local directories = 0
    -- The newest change of each file.
    local latest = {}

    local function holds(name, position)
        local change = queue[position]
        return change ~= nil and list_of(change) == name
    end

    local function add(position, change)
        local name = list_of(change)
        if name == nil then return end
        local list = lists[name]
        if list == nil then
            list = { live = 0 }
            lists[name] = list
        elseif #list > 2 * list.live + 16 then
            local fresh = { live = list.live }
            for _, at in ipairs(list) do
                if at ~= position and holds(name, at) then fresh[#fresh + 1] = at end
            end
            list = fresh
            lists[name] = list
        end
        local last = #list
        -- Only what replaces an older change is not the newest.
        while last > 0 and list[last] > position do last = last - 1 end
        table.insert(list, last + 1, position)
        list.live = list.live + 1
        if name:byte(1) == slash then directories = directories + 1 end
    end

    local function forget(change)
        local name = list_of(change)
        if name == nil then return end
        local list = lists[name]
        list.live = list.live - 1
        if list.live == 0 then lists[name] = nil end
        if name:byte(1) == slash then directories = directories - 1 end
    end

    -- The position of the newest change in a list, or 0.
    local function newest_in(name)
        local list = lists[name]
        if list == nil then return 0 end
        for last = #list, 1, -1 do
            if holds(name, list[last]) then return list[last] end
            list[last] = nil
        end
        return 0
    end

    local function is_of_file(change) return same_file[change.etype] and change.path:byte(-1) ~= slash end

    local function leaves(position)
        local change = queue[position]
        if change == nil then return end
        forget(change)
        if latest[change.path] == change then latest[change.path] = nil end
    end

    function queue.push(self, change)
        local position = push(self, change)
        change.dpos = position
        add(position, change)
        if is_of_file(change) then latest[change.path] = change end
        return position
    end

    function queue.remove(self, position)
        leaves(position)
        return remove(self, position)
    end

    function queue.replace(self, position, change)
        leaves(position)
        replace(self, position, change)
        change.dpos = position
        add(position, change)
        local other = latest[change.path]
        if is_of_file(change) and not (other and other.dpos > position) then latest[change.path] = change end
    end

    -- Whether a change of a file need not be kept: an earlier one of the same file has not begun.
    rawset(queue, "absorbs", function(path) return latest[path] ~= nil and latest[path].status ~= "active" end)

    local function once(chosen, before)
        if before > chosen then return chosen, queue[chosen] end
    end

    function queue.qpairsReverse(self)
        local path, same = newest.path, same_file[newest.etype]
        -- A directory can affect all that is below it.
        if same == nil or path:byte(-1) == slash or lists[moves] then return all(self) end
        local chosen = newest_in(everything)
        for _, old in ipairs(same) do chosen = math.max(chosen, newest_in(old .. path)) end
        local above = directories > 0 and path:find("/", 1, true)
        while above do
            chosen = math.max(chosen, newest_in(path:sub(1, above)))
            above = path:find("/", above + 1, true)
        end
        return once, chosen, chosen > 0 and chosen + 1 or 0
    end

    return queue
end

return true
