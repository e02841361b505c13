import {
  isDebianArchive,
  machineCodename,
  parseDeb822,
  parseList,
  reachSettings,
  sourcesFor,
} from "../../tools/sandbox/apt";

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

const list = `# a comment
deb http://mirror.example/debian bookworm main contrib # trailing
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/tools.gpg] https://tools.example/apt bookworm main
`;

const deb822 = `Types: deb deb-src
# a comment inside
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: ${keyring}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 AAAA
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
`;

describe("the machine's apt sources", () => {
  test("the one-line format is read, without comments and source packages", () => {
    expect(parseList(list)).toEqual([
      { uris: ["http://mirror.example/debian"], suites: ["bookworm"], components: ["main", "contrib"] },
      {
        uris: ["https://tools.example/apt"],
        suites: ["bookworm"],
        components: ["main"],
        signedBy: "/etc/apt/keyrings/tools.gpg",
      },
    ]);
  });

  test("the deb822 format is read, without disabled entries", () => {
    const [archive, security, ...others] = parseDeb822(deb822);
    expect(archive).toEqual({
      uris: ["http://mirror.example/debian/"],
      suites: ["bookworm", "bookworm-updates"],
      components: ["main"],
      signedBy: keyring,
    });
    expect(security?.uris).toEqual(["http://mirror.example/debian-security"]);
    expect(security?.signedBy).toContain("AAAA");
    expect(others).toEqual([]);
  });

  test.each([
    ["a mirror of Debian", "http://mirror.example/debian", ["bookworm"], ["main"], true],
    ["its security updates", "http://mirror.example/debian-security/", ["bookworm-security"], ["main"], true],
    ["a stable alias", "http://mirror.example/debian", ["stable"], ["main"], true],
    ["docker", "https://docker.example/linux/debian", ["bookworm"], ["stable"], false],
    ["node", "https://node.example/node_20.x", ["nodistro"], ["main"], false],
    ["postgres", "https://postgres.example/pub/repos/apt", ["bookworm-pgdg"], ["main"], false],
    ["a vendor that names its suites like Debian's", "https://vendor.example", ["bookworm"], ["main"], false],
    ["Ubuntu", "http://mirror.example/ubuntu", ["noble"], ["main"], false],
  ])("%s", (_what, uri, suites, components, expected) => {
    expect(isDebianArchive({ uris: [uri], suites, components }, "bookworm")).toBe(expected);
  });

  test("a mirror at an unusual path is recognized by its signing key", () => {
    const odd = { uris: ["http://mirror.example/repository/os"], suites: ["bookworm"], components: ["main"] };
    expect(isDebianArchive(odd, "bookworm")).toBe(false);
    expect(isDebianArchive({ ...odd, signedBy: keyring }, "bookworm")).toBe(true);
  });

  test("a host gets the same mirrors, for its own release, component main only", () => {
    expect(sourcesFor("trixie", [...parseDeb822(deb822), ...parseList(list)], "bookworm")).toEqual([
      `deb [signed-by=${keyring}] http://mirror.example/debian trixie main`,
      `deb [signed-by=${keyring}] http://mirror.example/debian trixie-updates main`,
      `deb [signed-by=${keyring}] http://mirror.example/debian-security trixie-security main`,
    ]);
  });

  test("on a machine without Debian's sources, mmdebstrap chooses", () => {
    const ubuntu = { uris: ["http://mirror.example/ubuntu"], suites: ["noble"], components: ["main"] };
    expect(sourcesFor("bookworm", [ubuntu], "noble")).toEqual([]);
  });

  test("the release name is read from os-release, quoted or not", () => {
    expect(machineCodename('NAME="Debian"\nVERSION_CODENAME=bookworm\n')).toBe("bookworm");
    expect(machineCodename('VERSION_CODENAME="noble"\n')).toBe("noble");
    expect(machineCodename("ID=arch\n")).toBe("");
  });

  test("only settings for reaching a mirror are copied to a host", () => {
    const dump = [
      'APT::Architecture "amd64";',
      'Acquire "";',
      'Acquire::http::Proxy "http://proxy.example:3128";',
      'Acquire::https::Proxy::mirror.example "DIRECT";',
      'Acquire::http::Timeout "";',
      'Acquire::https::CaInfo "/etc/company.pem";',
      'Acquire::Check-Valid-Until "false";',
      'Acquire::IndexTargets::deb::Packages::Optional "0";',
      'DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";',
    ].join("\n");
    expect(reachSettings(dump)).toEqual([
      'Acquire::http::Proxy "http://proxy.example:3128";',
      'Acquire::https::Proxy::mirror.example "DIRECT";',
      'Acquire::Check-Valid-Until "false";',
    ]);
  });
});
