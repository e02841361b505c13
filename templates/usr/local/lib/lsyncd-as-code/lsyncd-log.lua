-- Managed by "lsyncd as code": the next `npm run up` overwrites what is changed here by hand.
--
-- A file name can contain a newline followed by text that looks like a line of lsyncd's log, which the monitor reads. In the lists of
-- paths that lsyncd logs, each line begins with a slash; a line that does not is part of a name. lsyncd.conf.lua runs this first.

local plain_log = log

-- lsyncd calls log several times for each change, and prints few of these lines.
local function clean(count, word, ...)
    if count == 0 then return end
    if type(word) == "string" and word:find("\n", 1, true) then word = word:gsub("\n([^/\n])", "\\n%1") end
    if count == 1 then return word end
    return word, clean(count - 1, ...)
end

function log(level, ...) return plain_log(level, clean(select("#", ...), ...)) end
