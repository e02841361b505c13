/** Runs one mode of `npm run bench` with the arguments after its name; returns the exit code. */
export type Run = (args: string[]) => Promise<number>;

interface Mode {
  /** One line for the usage. */
  about: string;
  /** Loads the mode on demand. */
  load: () => Loaded;
}

interface Loaded {
  main: Run;
}

/** The modes of `npm run bench`. To add one: a line here, and a section in sections.ts for its results. */
export const modes: Record<string, Mode> = {
  deploy: {
    about: "deploys, compared with Ansible and pyinfra (the default)",
    load: () => require("./deploy") as Loaded,
  },
  host: { about: "what the mirror costs on its host", load: () => require("./host") as Loaded },
  hundred: {
    about: "what a hundred hosts cost the machine that deploys",
    load: () => require("./hundred") as Loaded,
  },
  profile: { about: "where the time of a run that changes nothing goes", load: () => require("./profile") as Loaded },
  sqlite: {
    about: "what mirroring databases costs, and whether the mirror opens at any moment",
    load: () => require("./sqlite") as Loaded,
  },
  many: {
    about: "what the mirror of very many small databases costs",
    load: () => require("./many") as Loaded,
  },
  beside: {
    about: "other ways to copy many small databases",
    load: () => require("./beside") as Loaded,
  },
  verify: {
    about: "what verifying a mirror of many small databases costs",
    load: () => require("./verify") as Loaded,
  },
  write: {
    about: "write docs/performance.md and its charts from what was measured",
    load: () => require("./write") as Loaded,
  },
};
