-- A configuration for the real lsyncd: compares its own calls of rsync with those that it makes with lsyncd-delays.lua, then ends.
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
local Delay = used(used(Sync.new, "delay"), "Delay")

-- What the program replaces, as lsyncd has it; `use` puts these or others in place.
local function functions() return { queue = Queue.new, sync = Sync.new, change = Delay.new } end
local function use(these) Queue.new, Sync.new, Delay.new = these.queue, these.sync, these.change end
local as_it_is = functions()

-- The names in each directory, for lsyncd's look into a new one.
local core = used(used(Sync.new, "delay"), "lsyncd")
core.readdir = function(path)
    local _, depth = path:gsub("/", "")
    if depth > 6 then return {} end
    return { a = false, b = true, ["a\n"] = false }
end

-- The time, as lsyncd has it.
local clock, collect = now(), used(as_it_is.sync, "collect")
for index = 1, 255 do
    local name = debug.getupvalue(collect, index)
    if name == "now" then debug.setupvalue(collect, index, function() return clock end) end
    if name == nil then break end
end

-- Calls of rsync are recorded instead: "init" for a full pass, otherwise the paths of the list.
local called
used(spawn, "lsyncd").exec = function(_, first, list)
    local paths = {}
    if first == "<" then
        for path in list:gmatch("[^\0]+") do paths[#paths + 1] = path end
        table.sort(paths)
    end
    called[#called + 1] = first == "<" and table.concat(paths, "\0") or "init"
    return #called
end

-- As lsyncd makes it for default.rsync. again() returns whether a process failed.
local function make(again, more)
    local config = {
        source = "/source/", target = "/target/", delay = 1, name = "s", maxProcesses = 1, maxDelays = 1000, delete = true,
        rsync = { binary = "rsync", _computed = {} }, action = default.rsync.action, init = default.rsync.init,
        collect = function() return again() end,
    }
    for name, value in pairs(more or {}) do config[name] = value end
    return Sync.new(config)
end

local names = { "a", "b", "c", "ab", "a\n", "", "a b", "\255", "Delete" }
local function path(directory)
    if directory and math.random(20) == 1 then return "/" end
    local parts = { "" }
    for _ = 1, math.random(3) do parts[#parts + 1] = names[math.random(math.random(#names))] end
    return table.concat(parts, "/") .. (directory and "/" or "")
end

-- One change, the time for a process or its end; returns what does it to a sync.
local function step()
    local what = math.random(100)
    if what <= 20 then return function(of) of:invokeActions(clock + 4) end end
    if what <= 30 then
        return function(of)
            for process in of.processes:walk() do
                of:collect(process, 0)
                break
            end
        end
    end
    local directory = math.random(4) == 1
    local kinds = { "Create", "Modify", "Modify", "Attrib", "Delete", "Delete", "Move" }
    local kind, from, to = kinds[math.random(#kinds)], path(directory), path(directory)
    return function(of) of:delay(kind, clock, from, kind == "Move" and to or nil) end
end

-- Returns whether the index counts exactly the changes that wait, so that it never grows beyond them.
local function counted(of)
    local add = used(of.delays.push, "add")
    local lists, list_of, live, waiting = used(add, "lists"), used(add, "list_of"), 0, 0
    for _, list in pairs(lists) do live = live + list.live end
    for _, change in of.delays:qpairs() do waiting = waiting + (list_of(change) and 1 or 0) end
    return live == waiting
end

-- The paths of one call that another lacks.
local function lacking(one, other)
    local has, lacks = {}, ""
    for path in other:gmatch("[^\0]+") do has[path] = true end
    for path in one:gmatch("[^\0]+") do lacks = lacks .. (has[path] and "" or " " .. path) end
    return lacks
end

local function histories()
    local count, compared = 0, 0
    for number = seed, seed + tonumber(os.getenv("HISTORIES")) - 1 do
        math.randomseed(number)
        -- With failed calls, lsyncd's own rule may move a change that waits for its retry by a second.
        local fails, rc = math.random(2) == 1, nil
        local again = function() return rc end
        local config = { exclude = math.random(3) == 1 and { "a b" } or nil }
        use(as_it_is)
        local itself = { sync = make(again, config), calls = {} }
        assert(dofile(program))
        itself.functions = as_it_is
        local faster = { sync = make(again, config), calls = {}, functions = functions() }

        -- Returns how the two differ after both did this, or nil.
        local function both(change)
            count = count + 1
            local says = {}
            for _, one in ipairs({ itself, faster }) do
                use(one.functions)
                called = one.calls
                local _, error = pcall(change, one.sync)
                says[#says + 1] = tostring(error)
            end
            if says[1] ~= says[2] then return says[1] .. " and " .. says[2] end
            local due, faster_due = itself.sync:getAlarm(), faster.sync:getAlarm()
            if type(due) ~= type(faster_due) or not fails and type(due) ~= "boolean" and faster_due > due then return "due " .. tostring(due) .. " and " .. tostring(faster_due) end
            local last = #itself.calls
            if last ~= #faster.calls then return last .. " and " .. #faster.calls .. " calls" end
            if itself.calls[last] ~= faster.calls[last] then
                return "call " .. last .. " lacks" .. lacking(itself.calls[last], faster.calls[last]) .. ", and has besides" .. lacking(faster.calls[last], itself.calls[last])
            end
        end

        -- lsyncd begins with a full pass.
        both(function(of) of:addInitDelay() end)
        for time = 2, 160 do
            rc = fails and math.random(3) == 1 and "again" or nil
            -- All that waits is due before the next step.
            clock = clock + 5
            local differ = both(step())
            if differ then
                print("history " .. number .. ", step " .. time .. ": " .. differ)
                return
            end
        end
        if not counted(faster.sync) then
            print("history " .. number .. ": the index counts other changes than those that wait")
            return
        end
        compared = compared + #itself.calls
    end
    print("equal after " .. count .. " steps and " .. compared .. " calls")
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

-- Prints how often lsyncd looks at a waiting change, how much memory it has in the end, in kB, and how many changes wait then.
local function comparisons()
    local combiner, asked = used(used(as_it_is.sync, "delay"), "Combiner"), 0
    local combine = combiner.combine
    combiner.combine = function(...)
        asked = asked + 1
        return combine(...)
    end
    core.readdir = function() return {} end
    local one = make(function() end)
    for round = 1, 1000 do workloads[os.getenv("WORKLOAD")](one, round) end
    print(asked .. " " .. math.ceil(collectgarbage("count")) .. " " .. one.delays:size())
end

-- Files change without a pause and are mirrored in between; the most memory that lsyncd needs, in kB.
local function memory()
    local inlets = used(used(as_it_is.sync, "getDelays"), "InletFactory")
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
