# shellcheck shell=bash
# The state of a failover: whether the mirror is in use instead of the primary. It is recorded on the root disk and on the
# volumes themselves: a root disk restored from a backup loses its record; a volume moved to another host keeps it.
#
#   mirroring   no failover
#   done        the failover has ended, lsyncd has not been started yet: the next `lsyncd-failover end` only starts it
#   in-use      the mirror is in use instead of the primary
#   restoring   the mirror is being copied over the source, which is an incomplete copy until that ends
#
# A source whose restore was abandoned has the record `half`, which ranks like `in-use`.
# The states are in order of strictness: if the records differ, the strictest counts. On a volume the record is an
# extended attribute of its root directory, `security.lsyncd-as-code`: only root can write it, no matter who owns the
# directory; it has no name in the tree that a copy could carry elsewhere, and needs no block of a full disk.
#
# The host's programs source this file; it is also part of the scripts that are sent to a host.

FAILOVER_STATES=(mirroring 'done' in-use restoring)

# Prints (or, given a text, writes) the record of the volume mounted at a path. Fails if it cannot be read or written. On a
# file system without extended attributes there is no record, and writing returns 3. The numbers: fsetxattr(2), fgetxattr(2).
# shellcheck disable=SC2016 # Perl's
volume_record() { # path [text]
  timeout 8 perl -MConfig -MErrno=ENODATA,EOPNOTSUPP -MFcntl -e '
    my ($path, $text) = @ARGV;
    my ($set, $get) = @{ { x86_64 => [190, 193], aarch64 => [7, 10] }->{ $Config{archname} =~ s/-.*//sr } // die "unknown machine\n" };
    my $name = "security.lsyncd-as-code";
    sysopen my $root, $path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW or die "cannot open $path: $!\n";
    if (defined $text) {
      syscall($set, fileno $root, $name, $text, length $text, 0) == 0 or do {
        exit 3 if $! == EOPNOTSUPP;
        die "cannot record the failover on $path: $!\n";
      };
      require IO::Handle;
      $root->sync or die "cannot record the failover on $path: $!\n";
      exit;
    }
    my $buffer = "\0" x 256;
    my $length = syscall($get, fileno $root, $name, $buffer, 255);
    die "cannot read the record of $path: $!\n" if $length < 0 && $! != ENODATA && $! != EOPNOTSUPP;
    print substr($buffer, 0, $length), "\n" if $length > 0;' -- "$@"
}

# Prints the rank of a state; an unknown state ranks like `in-use`.
failover_rank() { # state
  local rank
  for rank in "${!FAILOVER_STATES[@]}"; do
    if [ "${FAILOVER_STATES[rank]}" = "$1" ]; then
      printf '%s' "$rank"
      return
    fi
  done
  printf 2
}

# Prints the state recorded on the root disk. The file exists during a failover, and one line of it names the state;
# without that line the mirror is in use (an earlier version wrote none, and a full disk may have had no room for it).
root_state() { # file
  local state
  if [ ! -e "$1" ]; then
    echo mirroring
    return
  fi
  state=$(sed -n 's/^state //p' "$1" 2>/dev/null | head -n 1)
  echo "${state:-in-use}"
}

# Volume records that the caller has already read, by path.
declare -gA volume_records=()

# Prints the state recorded on a volume; `mirroring` if the volume cannot be read (missing, hanging).
volume_state() { # path
  local record
  record=$(volume_record "$1" 2>/dev/null) || record=
  local state
  record_state "$record"
  echo "$state"
}

# Sets `state` to the state in a record.
record_state() { # record
  state=${1%% *}
  state=${state:-mirroring}
}

# Sets failover_state to the strictest recorded state, and failover_keeper to the place of that record: the file on the
# root disk, or the path of a volume.
read_failover() { # file source target
  local place state rank strictest=0
  failover_state=mirroring failover_keeper=$1
  for place in "$@"; do
    if [ "$place" != "$1" ]; then
      if [ -n "${volume_records[$place]+set}" ]; then record_state "${volume_records[$place]}"; else state=$(volume_state "$place"); fi
    elif [ -e "$place" ]; then
      state=$(root_state "$place")
    else
      state=mirroring
    fi
    # Where nothing is remembered no process is started.
    [ "$state" != mirroring ] || continue
    rank=$(failover_rank "$state")
    if [ "$rank" -gt "$strictest" ]; then
      strictest=$rank failover_state=${FAILOVER_STATES[rank]} failover_keeper=$place
    fi
  done
}

# Prints the start of the failover and the reason given at `begin`.
failover_since() { # file
  local since
  since=$(head -n 1 "$1" 2>/dev/null)
  [ "$failover_keeper" = "$1" ] || since="${since:+$since; }recorded on the volume at $failover_keeper; the root disk's record is less strict"
  printf '%s' "${since:-no date}"
}

# Prints a sentence for people about the failover that read_failover found; nothing if there is none.
failover_sentence() { # file
  local since
  since=$(failover_since "$1")
  case "$failover_state" in
  done) echo "a failover has ended ($since), but lsyncd was not started again: run \`lsyncd-failover end\`" ;;
  in-use) echo "the mirror is in use ($since); end it with \`lsyncd-failover end\`" ;;
  restoring) echo "the mirror is being copied to the source, which is incomplete until then ($since); complete it with \`lsyncd-failover end --keep target\`" ;;
  esac
}
