-- A configuration for the real lsyncd: compares its own handling of changes with that of lsyncd-delays.lua, then ends.
-- PROGRAM, SEED, HISTORIES and MODE come from the environment. Prints the outcome.

local program, seed, mode = os.getenv("PROGRAM"), tonumber(os.getenv("SEED")), os.getenv("MODE")

local function used(by, wanted)
    for index = 1, 255 do
        local name, value = debug.getupvalue(by, index)
        if name == nil then error(wanted .. " is not there") end
        if name == wanted then return value end
    end
end
local Sync = used(used(sync, "Syncs").add, "Sync")
local Combiner = used(used(Sync.new, "delay"), "Combiner")

-- The names in each directory, for lsyncd's look into a new one.
used(used(Sync.new, "delay"), "lsyncd").readdir = function(path)
    local _, depth = path:gsub("/", "")
    if depth > 6 then return {} end
    return { a = false, b = true, ["a\n"] = false }
end

local function make(again, more)
    local config = { source = "/source/", delay = 1, name = "s", maxProcesses = 3, maxDelays = 1000, collect = function() return again() end }
    for name, value in pairs(more or {}) do config[name] = value end
    return Sync.new(config)
end

local function state(of)
    local lines = {}
    for position, change in of.delays:qpairs() do
        local blocks = {}
        for _, blocked in ipairs(change.blocks or {}) do blocks[#blocks + 1] = blocked.etype .. blocked.path .. tostring(blocked.dpos) end
        lines[#lines + 1] = table.concat({
            position, change.etype, change.path, tostring(change.path2), change.status, tostring(change.dpos), math.type(change.alarm) and change.alarm or type(change.alarm),
            table.concat(blocks, ","),
        }, " ")
    end
    return table.concat(lines, "\n")
end

local names = { "a", "b", "c", "ab", "a\n", "", "a b", "\255", "Delete" }
local function path(directory)
    if directory and math.random(20) == 1 then return "/" end
    local parts = { "" }
    for _ = 1, math.random(3) do parts[#parts + 1] = names[math.random(math.random(#names))] end
    return table.concat(parts, "/") .. (directory and "/" or "")
end

-- One change, a full pass, the start of a process or its end; returns what does it to a sync.
local function step(time)
    local what = math.random(100)
    if what == 1 then return function(of) of:addInitDelay() end end
    if what == 2 then return function(of) of:addBlanketDelay() end end
    local process = math.random(3)
    if what <= 10 then
        local alone = math.random(3) == 1
        return function(of)
            local list = of:getDelays(nil)
            list.sync = nil
            if #list == 0 or of.processes[process] then return end
            if alone then list = { list[#list] } end
            for _, change in ipairs(list) do change:setActive() end
            of.processes[process] = alone and list[1] or list
        end
    end
    if what <= 20 then return function(of) of:collect(process, 0) end end
    local directory = math.random(4) == 1
    local kinds = { "Create", "Modify", "Modify", "Attrib", "Delete", "Delete", "Move" }
    local kind, from, to = kinds[math.random(#kinds)], path(directory), path(directory)
    return function(of) of:delay(kind, time, from, kind == "Move" and to or nil) end
end

-- Returns whether the index counts exactly the changes that wait, so that it never grows beyond them.
local function counted(of)
    local add = used(of.delays.push, "add")
    local lists, list_of, live, waiting = used(add, "lists"), used(add, "list_of"), 0, 0
    for _, list in pairs(lists) do live = live + list.live end
    for _, change in of.delays:qpairs() do waiting = waiting + (list_of(change) and 1 or 0) end
    return live == waiting
end

local function histories()
    local count = 0
    for number = seed, seed + tonumber(os.getenv("HISTORIES")) - 1 do
        math.randomseed(number)
        local rc
        local again = function() return rc end
        local config = { onMove = math.random(3) == 1, exclude = math.random(3) == 1 and { "a b" } or nil }
        local by_itself, faster = make(again, config), nil
        local new_queue = Queue.new
        assert(dofile(program))
        faster = make(again, config)
        Queue.new = new_queue
        for time = 1, 120 do
            rc = math.random(3) == 1 and "again" or nil
            local change = step(time)
            -- The end of a process whose change was replaced meanwhile is an error in lsyncd.
            local said, says = { pcall(change, by_itself) }, { pcall(change, faster) }
            count = count + 1
            local expected, found = state(by_itself) .. tostring(said[2]), state(faster) .. tostring(says[2])
            if expected ~= found then
                print("history " .. number .. ", step " .. time .. "\nlsyncd:\n" .. expected .. "\nfaster:\n" .. found)
                return
            end
        end
        if not counted(faster) then
            print("history " .. number .. ": the index counts other changes than those that wait")
            return
        end
    end
    print("equal after " .. count .. " steps")
end

-- Ways to change much, for so many rounds: what writes files, many or a few again and again, makes and removes locks, or touches a directory.
local workloads = {
    many = function(one, round) one:delay("Create", round, "/d/" .. round) one:delay("Modify", round, "/d/" .. round) end,
    hot = function(one, round) one:delay("Modify", round, "/d/db") one:delay("Modify", round, "/d/db-wal") end,
    journal = function(one, round)
        one:delay("Create", round, "/d/db-journal")
        one:delay("Modify", round, "/d/db")
        one:delay("Delete", round, "/d/db-journal")
    end,
    lock = function(one, round)
        one:delay("Create", round, "/lock/")
        one:delay("Create", round, "/lock/f")
        one:delay("Delete", round, "/lock/f")
        one:delay("Delete", round, "/lock/")
    end,
    touch = function(one, round) one:delay("Modify", round, "/d/" .. round % 50) one:delay("Attrib", round, "/d/") end,
}

-- Prints how often lsyncd looks at a waiting change, and how much memory it has in the end, in kB.
local function comparisons()
    local delay = used(Sync.new, "delay")
    local combiner, asked = used(delay, "Combiner"), 0
    local combine = combiner.combine
    combiner.combine = function(...)
        asked = asked + 1
        return combine(...)
    end
    used(delay, "lsyncd").readdir = function() return {} end
    local one = make(function() end)
    for round = 1, 1000 do workloads[os.getenv("WORKLOAD")](one, round) end
    print(asked .. " " .. math.ceil(collectgarbage("count")))
end

-- Files change without a pause and are mirrored in between; the most memory that lsyncd needs, in kB.
local function memory()
    local inlets = used(used(Sync.new, "getDelays"), "InletFactory")
    local one, most = make(function() end), 0
    for round = 1, 150 do
        for number = 1, 150 do one:delay("Modify", round, "/d/" .. number) end
        local list = one:getDelays(function(event) return event.etype ~= "Init" end)
        for _, change in ipairs(list) do
            inlets.d2e(change)
            change:setActive()
        end
        one.processes[1] = list
        -- Changes of the same files come in while rsync runs.
        for number = 1, 150 do one:delay("Modify", round, "/d/" .. number) end
        one:collect(1, 0)
        most = math.max(most, collectgarbage("count"))
    end
    print("memory " .. math.ceil(most))
end

if mode == "histories" then
    histories()
else
    if program then assert(dofile(program)) end
    if mode == "comparisons" then comparisons() else memory() end
end
os.exit(0)
