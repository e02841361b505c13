# Hands a call of lsyncd to the process that is ready for it (Ready.pm), if there is one. rsync-wrapper reads this before anything else, and
# this reads no module: reading all of ours takes longer than most calls.
package LsyncdAsCode::Handover;
use strict;
use warnings;

# Numbers of Linux: socket(2), and the exit code with which lsyncd tries again (Pass.pm).
use constant {
    AF_UNIX     => 1,
    SOCK_STREAM => 1,
    AGAIN       => 12,
};

# Returns the path of the socket for these programs and this lsyncd; undef for a call that is not handed over. The supervisor names the
# run of lsyncd, and the folder of the programs is another one after a deployment.
sub place {
    my ($folder, @arguments) = @_;
    # A full pass is rare and may take hours.
    return undef if !defined $ENV{LSYNCD_READY} || !grep { $_ eq '--include-from=-' } @arguments;
    my ($device, $inode) = stat $folder or return undef;
    return "$ENV{LSYNCD_READY}.$device.$inode";
}

# Returns the address of a socket at a path; undef if the path is too long (unix(7)).
sub address { my ($path) = @_; return length $path < 108 ? pack('SZ*', AF_UNIX, $path) : undef }

# Ends this program with the result of the call. Returns if nobody took it: then nothing has been done or read.
sub hand_over {
    my ($folder, @arguments) = @_;
    my $address = address(place($folder, @arguments) // return) // return;
    socket my $ready, AF_UNIX, SOCK_STREAM, 0 or return;
    connect $ready, $address or return;
    local $SIG{PIPE} = 'IGNORE';
    # The other side reads the standard input from this process.
    my $request = pack '(N/a*)*', getppid, @arguments;
    return if (syswrite($ready, pack 'N/a*', $request) // 0) != 4 + length $request;
    return if !sysread $ready, my $taken, 1;
    exit AGAIN if (sysread($ready, my $result, 2) // 0) != 2;
    my $status = unpack 'n', $result;
    exit $status >> 8 if !($status & 127);
    # As if it had been killed itself.
    $SIG{PIPE} = 'DEFAULT';
    kill $status & 127, $$;
    exit AGAIN;
}

1;
