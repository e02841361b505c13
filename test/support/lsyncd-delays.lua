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
    return { a = false, b = true }
end

local function make(again)
    local one = Sync.new {
        source = "/source", delay = 1, name = "s", maxProcesses = 1, maxDelays = 1000, onMove = true,
        collect = function() return again() end,
    }
    return one
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

local function path(directory)
    local parts = { "" }
    for _ = 1, math.random(3) do parts[#parts + 1] = string.char(96 + math.random(3)) end
    return table.concat(parts, "/") .. (directory and "/" or "")
end

-- One change, a full pass, the start of a process or its end; returns what does it to a sync.
local function step(time)
    local what = math.random(100)
    if what == 1 then return function(of) of:addInitDelay() end end
    if what == 2 then return function(of) of:addBlanketDelay() end end
    if what <= 10 then
        return function(of)
            local list = of:getDelays(nil)
            list.sync = nil
            if #list == 0 or of.processes[1] then return end
            for _, change in ipairs(list) do change:setActive() end
            of.processes[1] = list
        end
    end
    if what <= 20 then return function(of) of:collect(1, 0) end end
    local directory = math.random(4) == 1
    local kinds = { "Create", "Modify", "Modify", "Attrib", "Delete", "Move" }
    local kind, from, to = kinds[math.random(#kinds)], path(directory), path(directory)
    return function(of) of:delay(kind, time, from, kind == "Move" and to or nil) end
end

local function histories()
    local count = 0
    for number = seed, seed + tonumber(os.getenv("HISTORIES")) - 1 do
        math.randomseed(number)
        local rc
        local again = function() return rc end
        local by_itself, faster = make(again), nil
        local new_queue = Queue.new
        assert(dofile(program))
        faster = make(again)
        Queue.new = new_queue
        for time = 1, 120 do
            rc = math.random(3) == 1 and "again" or nil
            local change = step(time)
            change(by_itself)
            change(faster)
            count = count + 1
            local expected, found = state(by_itself), state(faster)
            if expected ~= found then
                print("history " .. number .. ", step " .. time .. "\nlsyncd:\n" .. expected .. "\nfaster:\n" .. found)
                return
            end
        end
    end
    print("equal after " .. count .. " steps")
end

-- Many files change; how often does lsyncd compare two changes?
local function comparisons()
    local asked, combine = 0, Combiner.combine
    Combiner.combine = function(...)
        asked = asked + 1
        return combine(...)
    end
    local one = make(function() end)
    for number = 1, 2000 do
        one:delay("Create", number, "/d/" .. number)
        one:delay("Modify", number, "/d/" .. number)
    end
    print("comparisons " .. asked)
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
