# Output of the commands on a host: findings and warnings are collected and printed together at the end.

findings=()
warnings=()

refuse() { findings+=("$1"); }
warn() { warnings+=("$1"); }

# Prints a list, numbered, with the lines that follow a first one indented.
print_numbered() {
  local number=0 text
  for text in "$@"; do
    number=$((number + 1))
    printf '  %d. %s\n' "$number" "${text//$'\n'/$'\n'     }"
  done
}

# A value as an operator can paste it into a shell.
quoted() { printf '%q' "$1"; }
