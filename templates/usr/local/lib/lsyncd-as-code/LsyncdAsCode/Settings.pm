# Reads the settings of this host: files below /etc/lsyncd that "lsyncd as code" renders.
#
#   my $settings = LsyncdAsCode::Settings::read('mirror');    # /etc/lsyncd/mirror.conf
#   $settings->text('source');  $settings->number('deletion_limit');  $settings->flag('sqlite_safe');  $settings->list('sqlite_pattern');
#
# One setting per line, `name = "value"`. In a value \\ and \" stand for a backslash and a quote, \xNN for a control
# character. A list repeats its name on several lines. A missing or malformed setting is an error that names the file
# and the line. settings.sh does the same for Bash.
package LsyncdAsCode::Settings;
use strict;
use warnings;

# Returns the directories of the files: the first one that has a file counts. While a deployment replaces the files in /etc/lsyncd
# one by one, the new programs find the new ones beside them. Tests set another directory.
sub directories {
    return $ENV{LSYNCD_SETTINGS} if defined $ENV{LSYNCD_SETTINGS};
    return (__FILE__ =~ s{/LsyncdAsCode/Settings\.pm\z}{/settings}r, '/etc/lsyncd');
}

# Returns all settings of one file as an object. Dies if the file cannot be read or a line is malformed.
sub read {    ## no critic (ProhibitBuiltinHomonyms)
    my ($name) = @_;
    my $settings = eval { read_file($name) };
    my $fault = $@;
    LsyncdAsCode::Whole::settle() if $INC{'LsyncdAsCode/Whole.pm'};
    return $settings // die $fault;
}

sub read_file {
    my ($name) = @_;
    my ($file, $handle);
    for my $directory (directories()) {
        $file = "$directory/$name.conf";
        last if open $handle, '<', $file;
        $handle = undef;
    }
    die "cannot read the settings $file: $!\n" if !$handle;
    my (%values, $number);
    while (defined(my $line = <$handle>)) {
        $number++;
        chomp $line or die "$file:$number: the line does not end; the file is truncated\n";
        next if $line =~ /\A(?:#|\z)/;
        my ($key, $text) = $line =~ /\A([a-z][a-z0-9_]*) = "((?:[^"\\\x00-\x1f\x7f]|\\\\|\\"|\\x[0-9a-f]{2})*)"\z/
            or die "$file:$number: not a setting; expected: name = \"value\"\n";
        $text =~ s/\\(?:x([0-9a-f]{2})|(.))/defined $1 ? chr hex $1 : $2/ge;
        push @{ $values{$key} }, { text => $text, line => $number };
    }
    close $handle or die "cannot read the settings $file: $!\n";
    return bless { file => $file, values => \%values }, __PACKAGE__;
}

sub one {
    my ($self, $key) = @_;
    my @found = @{ $self->{values}{$key} // [] };
    die "$self->{file}: the setting $key is missing\n" unless @found;
    die "$self->{file}:$found[1]{line}: the setting $key is set twice\n" if @found > 1;
    return $found[0];
}

# Returns a string. Dies if there is none, or more than one.
sub text { my ($self, $key) = @_; return one($self, $key)->{text} }

# Returns a number: digits, with or without a decimal point. Dies if it is anything else.
sub number {
    my ($self, $key) = @_;
    my $found = one($self, $key);
    return $found->{text} + 0 if $found->{text} =~ /\A[0-9]{1,15}(?:\.[0-9]{1,15})?\z/;
    die "$self->{file}:$found->{line}: the setting $key is not a number: $found->{text}\n";
}

# Returns 1 for true, 0 for false. Dies if it is anything else.
sub flag {
    my ($self, $key) = @_;
    my $found = one($self, $key);
    return $found->{text} eq 'true' ? 1 : 0 if $found->{text} =~ /\A(?:true|false)\z/;
    die "$self->{file}:$found->{line}: the setting $key is neither true nor false: $found->{text}\n";
}

# Returns all values of a name, in the order of the file; an empty list if there are none.
sub list { my ($self, $key) = @_; return map { $_->{text} } @{ $self->{values}{$key} // [] } }

1;
