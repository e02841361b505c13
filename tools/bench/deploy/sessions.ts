import type { DeployResults, Sample, Session } from "./types";

/** The cell of a sample in the tables. */
const cellOf = ({ tool, hosts, rtt, work }: Sample): string => `${tool} ${hosts} ${rtt} ${work}`;

/**
 * Adds new samples to the known ones. Samples of the same commit and machine are merged; for each tool, work, number of hosts and
 * distance only the newest session counts, and older ones are dropped.
 */
export function merge(known: DeployResults | undefined, session: Session): DeployResults {
  const key = ({ conditions }: Session): string => JSON.stringify({ ...conditions, date: "" });
  const sessions = known?.sessions ?? [];
  const same = sessions.find((other) => key(other) === key(session));
  const merged: Session = {
    conditions: session.conditions,
    versions: { ...same?.versions, ...session.versions },
    samples: [...(same?.samples ?? []), ...session.samples],
  };
  const all = [...sessions.filter((other) => other !== same), merged];
  const newest = new Map(all.flatMap((one) => one.samples.map((sample) => [cellOf(sample), one] as const)));
  // A round counts no longer once all its tools have newer measurements; until then its samples stay, for the ratios.
  const counts = (one: Session, sample: Sample): boolean =>
    one.samples.some(
      (other) => other.round === sample.round && other.work === sample.work && newest.get(cellOf(other)) === one,
    );
  return {
    sessions: all
      .map((one) => ({ ...one, samples: one.samples.filter((sample) => counts(one, sample)) }))
      .filter(({ samples }) => samples.length > 0),
  };
}

/** The samples of a cell that count: those of the newest session that has any. */
export function samplesOf(
  { sessions }: DeployResults,
  wanted: Pick<Sample, "tool" | "hosts" | "rtt" | "work">,
): { session: Session; samples: Sample[] } | undefined {
  for (const session of [...sessions].reverse()) {
    const samples = session.samples.filter(
      ({ tool, hosts, rtt, work }) =>
        tool === wanted.tool && hosts === wanted.hosts && rtt === wanted.rtt && work === wanted.work,
    );
    if (samples.length > 0) return { session, samples };
  }
  return undefined;
}

/** For each sample, how many times as long as the quickest of the others in the same round it took. */
export function ratios(session: Session, samples: Sample[], against: (tool: string) => boolean): number[] {
  return samples.flatMap((sample) => {
    const others = session.samples.filter(
      ({ round, work, tool }) =>
        round === sample.round && work === sample.work && tool !== sample.tool && against(tool),
    );
    return others.length === 0 ? [] : [sample.seconds / Math.min(...others.map(({ seconds }) => seconds))];
  });
}
