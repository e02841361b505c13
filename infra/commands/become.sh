# Gets root's rights and runs the rest of standard input with them: `bash -s` reads a line at a time, so what follows this
# text is still there. They are borrowed from the process that holds them for this run (lend.pl), or else sudo must not ask. With
# TAKE it is the one that lends: then PASSWORD is tried once, sudo would take the next lines for further tries.
# Variables: HOST LOGIN LEND (where a run may have left root's rights for it) TAKE and PASSWORD
# REFUSED_BY (the host that has refused the password in this run: it is not tried again)
# Exit codes beside those of what follows: 124, sudo refuses the password; 125, sudo asks for one and there is none.
become() {
  local answer lenders asked=false marker=lsyncd-as-code-begins begun line
  export LC_ALL=C
  if [ -n "${REFUSED_BY-}" ]; then
    explain "incorrect password attempt"
    exit 124
  fi
  if [ -z "${TAKE-}" ]; then
    lenders=("$LEND".*)
    if perl -MIO::Socket::UNIX -e 'for (@ARGV) { exit 0 if IO::Socket::UNIX->new(Peer => $_) } exit 1' -- "${lenders[@]}"; then
      borrow "$@"
      exit
    fi
    if ! answer=$(sudo -n -- bash -c : 2>&1 </dev/null); then
      explain "$answer" "$@"
      case "$answer" in *"a password is required"* | *"interactive authentication is required"*) exit 125 ;; esac
      exit 1
    fi
    # shellcheck disable=SC2016 # for the inner shell
    exec sudo -n -- bash -c 'eval "$(cat)"' "$@"
  fi
  if ! answer=$(try_password); then
    explain "$answer"
    case "$answer" in *"incorrect password attempt"* | *"Authentication failed"*) exit 124 ;; esac
    exit 1
  fi
  answer=${answer##*$'\n'}
  [ "${answer##* }" != used ] || asked=true
  # For the caller that waits to learn whether the password was needed.
  echo "password asked: $asked"
  # The script follows when the command has begun: sudo-rs reads more than the one line that it needs.
  begun=$(mktemp -d) && mkfifo "$begun/fifo" || exit 1
  {
    if $asked; then printf '%s\n' "$PASSWORD"; fi
    read -r _ <"$begun/fifo"
    rm -rf "$begun"
    printf '%s\n' "$marker"
    cat
    # sudo itself prints a lecture at most; the command's own errors come with its output.
  } | sudo -S -k -p '' -- bash -c "exec 2>&1; echo $marker; until [ \"\$line\" = $marker ]; do IFS= read -r line || exit 1; done; $TAKE" "$@" 2>/dev/null |
    {
      IFS= read -r line
      echo >"$begun/fifo"
      [ "$line" = "$marker" ] || printf '%s\n' "$line"
      exec cat
    }
  # Of sudo. The rest of the input is not for this shell.
  exit "${PIPESTATUS[1]}"
}

# Tries the password once. Prints sudo's output, and in the last line whether sudo asked, which shows in the input that it leaves
# unread. -k: sudo neither uses nor stores a cached login.
try_password() {
  local line said=
  case "$(sudo --version 2>&1)" in
  sudo-rs*) ;;
  *)
    # shellcheck disable=SC2016 # for the inner shell
    printf '%s\n' "$PASSWORD" |
      sudo -S -k -p '' -- bash -c 'if IFS= read -r _; then echo unused; else echo used; fi' 2>&1
    return
    ;;
  esac
  # sudo-rs takes the end of its input for a second and a third password: so the input stays open, and sudo is ended when it
  # asks again.
  # shellcheck disable=SC2016
  coproc ASKED_SUDO { exec sudo -S -k -p '' -- bash -c 'if IFS= read -r -t 1 _; then echo unused; else echo used; fi' 2>&1; }
  # Both are gone from the array as soon as sudo is.
  exec 7<&"${ASKED_SUDO[0]}" 8>&"${ASKED_SUDO[1]}"
  line=$ASKED_SUDO_PID
  { printf '%s\n' "$PASSWORD" >&8; } 2>/dev/null
  while IFS= read -r said <&7; do
    printf '%s\n' "$said"
    case "$said" in
    *"Authentication failed"*)
      kill -KILL "$line"
      break
      ;;
    esac
  done
  exec 7<&- 8>&-
  wait "$line" 2>/dev/null
}

# Explains sudo's error in one line.
explain() {
  local said
  said=$(printf '%s\n' "$1" | grep -E '^sudo(-rs)?: ' | tail -n 1)
  case "$1" in
  *"incorrect password attempt"* | *"Authentication failed"*)
    said="sudo on ${REFUSED_BY:-$HOST} refuses the password for $LOGIN. It was tried once"
    [ "${REFUSED_BY:-$HOST}" = "$HOST" ] || said="$said, and not on $HOST"
    echo "$said; set the right one: pulumi config set --secret lsyncd:becomePassword"
    ;;
  *"a password is required"* | *"interactive authentication is required"*)
    case " $* " in
    *" remove "*) echo "sudo on $HOST asks $LOGIN for a password. Run it with: npm run destroy, or npm run up, and --ask-become-pass" ;;
    *) echo "sudo on $HOST asks $LOGIN for a password. Run it with: npm run up -- --ask-become-pass; or set lsyncd:becomePassword" ;;
    esac
    ;;
  *"must have a tty"*)
    echo "sudo on $HOST requires a terminal (requiretty), and there is none. Exempt the user in its sudoers: Defaults:$LOGIN !requiretty"
    ;;
  *"not in the sudoers file"* | *"not allowed to"* | *"may not run sudo"* | *"afraid I can't do that"*)
    echo "$LOGIN may not run bash as root with sudo on $HOST. Allow it in its sudoers, or log in as another user (lsyncd:user)"
    ;;
  *) echo "sudo on $HOST failed for $LOGIN: ${said:-$(printf '%s' "$1" | tail -n 1)}" ;;
  esac
  echo "More: docs/troubleshooting.md#sudo"
}

# Passes the script and its arguments to the process that holds root's rights for this run (lend.pl), and prints its answer:
# the output, and after a NUL the exit status. Other processes may lend for their own runs, so all are tried in turn.
borrow() {
  # shellcheck disable=SC2016 # Perl
  perl -MIO::Socket::UNIX -e '
    my @paths = splice @ARGV, 0, shift;
    my $request = join(" ", @ARGV) . "\n" . do { local $/; <STDIN> };
    $SIG{PIPE} = "IGNORE";
    $| = 1;
    for my $path (@paths) {
      my $lender = IO::Socket::UNIX->new(Peer => $path) or next;
      print $lender $request;
      shutdown $lender, 1;
      my ($ended, $printed, $status, $text) = (0, 0, "", "");
      while (sysread $lender, $text, 65536) {
        if (!$ended && (my $end = index $text, "\0") >= 0) {
          $ended = 1;
          $printed ||= $end > 0;
          print substr $text, 0, $end;
          $text = substr $text, $end + 1;
        }
        $ended ? ($status .= $text) : ($printed = print $text);
      }
      next if $status eq "unannounced" && !$printed;
      die "root'"'"'s rights for this run ended before the command did\n" if $status !~ /^\d+$/;
      exit $status;
    }
    print "This run was not announced: @ARGV. Nothing was done.\n";
    exit 1;
  ' -- "${#lenders[@]}" "${lenders[@]}" "$@"
}

# Never returns: the following text is for another shell. The condition is for checkers, which would call it unreachable.
[ -z "$BASH" ] || become "$@"
