/** What one mode of `npm run bench` does, given the arguments that follow its name; returns the exit code. */
export type Run = (args: string[]) => Promise<number>;

interface Mode {
  /** One line for the usage. */
  about: string;
  /** Loaded when it is asked for, and no sooner. */
  load: () => Promise<{ main: Run }>;
}

/** The modes of `npm run bench`. To add one: a line here, and a section in sections.ts for what it finds. */
export const modes: Record<string, Mode> = {
  deploy: { about: "deploys, beside Ansible and pyinfra (the default)", load: () => import("./deploy") },
  host: { about: "what the mirror costs on its host", load: () => import("./host") },
  profile: { about: "where the time of a run that changes nothing goes", load: () => import("./profile") },
  sqlite: {
    about: "what mirroring databases costs, and what the mirror is worth at any moment",
    load: () => import("./sqlite"),
  },
  write: { about: "write docs/performance.md and its charts from what was measured", load: () => import("./write") },
};
