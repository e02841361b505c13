# Makes a command's output safe for the command plugin, which fails on bytes that are not UTF-8 and hangs on a line of more
# than 64 KiB. A file's name can be any bytes, and a log can quote it. Anything that could move a terminal's cursor is escaped too.

clean_output() {
  command -v perl >/dev/null || exec cat
  # 16000 bytes, all of them escaped, and the dots are less than 64 KiB.
  # shellcheck disable=SC2016 # Perl
  exec perl -e '
    $| = 1;
    while (defined(my $line = <STDIN>)) {
      my $end = chomp $line ? "\n" : "";
      $line = substr($line, 0, 16000) . " ..." if length $line > 16000;
      $line =~ s{((?:[\t\x20-\x7e]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}
        |\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})+)
        |(.)}{$1 // sprintf "\\x%02x", ord $2}gsex;
      print $line, $end;
    }'
}

# Waits for the end: output still in the pipe would be lost with this shell.
finish_output() {
  local code=$?
  exec >&- 2>&-
  wait "$cleaned_out" "$cleaned_err"
  exit "$code"
}

exec > >(clean_output)
cleaned_out=$!
exec 2> >(clean_output >&2)
cleaned_err=$!
trap finish_output EXIT
